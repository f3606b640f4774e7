package handlers

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-playground/validator/v10"

	"charmer/api"
	"charmer/workerproc/longtext"
)

const (
	jsonMediaType = "application/json"

	// keptBuffer is the size above which a body's buffer is left to the garbage collector, so that one large request
	// does not hold its memory for good.
	keptBuffer = 1 << 20

	// eagerBody is how much memory a body gets on the strength of its length alone. Beyond that it gets eagerGrowth times what has come.
	eagerBody   = keptBuffer / 2
	eagerGrowth = 32
)

// errNull refuses an explicit null: no schema of a request allows it, and in a pointer it would pass for absent.
var errNull = errors.New("null")

// binder reads the bodies and checks the parameters of requests against openapi.yaml. It is safe for concurrent use.
type binder struct {
	limit    int64 // of a body, in bytes
	strict   json.Options
	noNull   json.Options // strict, and refuses null
	validate *validator.Validate
	buffers  sync.Pool // of *bodyBuffer
}

// bodyBuffer holds one body while it is decoded. No decoded value refers to it.
type bodyBuffer struct {
	bytes.Buffer
	limited io.LimitedReader
}

// fill reads a body of at most limit bytes, or one byte more if it is larger. announced is its length, or -1.
func (b *bodyBuffer) fill(body io.Reader, announced, limit int64) error {
	b.limited.R = body
	for step := int64(eagerBody); ; step = (eagerGrowth - 1) * int64(b.Len()) {
		come := int64(b.Len())
		b.limited.N = min(step, limit+1-come)
		b.Grow(int(max(0, min(b.limited.N, announced+1-come))) + bytes.MinRead)
		if _, err := b.ReadFrom(&b.limited); err != nil || b.limited.N > 0 || int64(b.Len()) > limit {
			return err
		}
	}
}

// newBinder returns a binder for bodies of up to limit bytes.
func newBinder(limit int64) *binder {
	strict := json.RejectUnknownMembers(true)
	return &binder{
		limit:    limit,
		strict:   strict,
		noNull:   json.JoinOptions(strict, json.WithUnmarshalers(json.UnmarshalFromFunc(refuseNull))),
		validate: newValidator(api.Patterns()),
		buffers:  sync.Pool{New: func() any { return new(bodyBuffer) }},
	}
}

// bind reads the body of r, which must be there, into a T, one of the request types of package api. The body is JSON
// without unknown or duplicate members, without null where a member is declared, without invalid UTF-8 and without
// anything behind the value; it satisfies the validate tags of T. The error is a *requestError.
//
// JSON text in T (jsontext.Value) is a copy of the client's bytes, the only one that is made, and is not normalised.
func bind[T any](b *binder, r *http.Request) (T, error) {
	return bindBody[T](b, r, true)
}

// bindOptional is bind for a body that may be left out, which gives the zero T.
func bindOptional[T any](b *binder, r *http.Request) (T, error) {
	return bindBody[T](b, r, false)
}

func bindBody[T any](b *binder, r *http.Request, required bool) (T, error) {
	var v, zero T
	buffer := b.buffers.Get().(*bodyBuffer)
	defer b.putBack(buffer)
	if err := b.read(buffer, r); err != nil {
		return zero, err
	}
	body := buffer.Bytes()
	if len(body) == 0 {
		if required {
			return zero, invalidBody(api.FieldError{Detail: "is required"})
		}
		return zero, nil
	}
	if err := b.decode(body, &v); err != nil {
		return zero, invalidBody(decodeProblem(err))
	}
	if err := b.validate.Struct(&v); err != nil {
		return zero, invalidBody(ruleProblems(err, body)...)
	}
	return v, nil
}

// decode reads the JSON text of a body into v. The long strings in what v keeps as text are not looked at byte by byte.
func (b *binder) decode(body []byte, v any) error {
	cut := longtext.Of(body)
	if bytes.Contains(cut.Text, []byte("null")) { // looking for it at every member doubles the time
		return json.Unmarshal(body, v, b.noNull)
	}
	if cut.Holes() == 0 {
		return json.Unmarshal(body, v, b.strict)
	}
	filled := 0
	fill := json.UnmarshalFromFunc(func(dec *jsontext.Decoder, text *jsontext.Value) error {
		short, err := dec.ReadValue()
		if err != nil {
			return err
		}
		to := int(dec.InputOffset())
		begin, end, holes := cut.Original(to-len(short), to)
		*text = bytes.Clone(body[begin:end])
		filled += holes
		return nil
	})
	if err := json.Unmarshal(cut.Text, v, b.strict, json.WithUnmarshalers(fill)); err == nil && filled == cut.Holes() {
		return nil
	}
	return json.Unmarshal(body, v, b.strict) // for the error, or for the strings that are no text of v
}

// putBack gives a buffer back to the pool.
func (b *binder) putBack(buffer *bodyBuffer) {
	buffer.limited.R = nil
	if buffer.Cap() <= keptBuffer {
		b.buffers.Put(buffer)
	}
}

// read fills buffer with the body of r after checking that its headers announce JSON within the limit.
func (b *binder) read(buffer *bodyBuffer, r *http.Request) error {
	buffer.Reset()
	if r.ContentLength == 0 || r.Body == nil {
		return nil
	}
	if r.ContentLength > b.limit {
		return tooLarge(b.limit)
	}
	typed := r.Header.Get("Content-Type") != ""
	if typed || r.ContentLength > 0 { // of unknown length and without type: may turn out to be empty
		if err := checkMediaType(r.Header); err != nil {
			return err
		}
	}
	if err := buffer.fill(r.Body, r.ContentLength, b.limit); err != nil {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return tooLarge(large.Limit)
		}
		return unreadable(err)
	}
	if int64(buffer.Len()) > b.limit {
		return tooLarge(b.limit)
	}
	if !typed && buffer.Len() > 0 {
		return checkMediaType(r.Header)
	}
	return nil
}

// checkMediaType accepts application/json, with charset=utf-8 or without, and no Content-Encoding.
func checkMediaType(h http.Header) error {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return wrongMediaType("Content-Encoding must not be used, but is " + clip(coding))
	}
	value := strings.Join(h.Values("Content-Type"), ", ") // which is no media type, if there are several
	if value == jsonMediaType {
		return nil
	}
	if value == "" {
		return wrongMediaType("Content-Type must be " + jsonMediaType + ", but is missing")
	}
	media, params, err := mime.ParseMediaType(value)
	if err != nil || media != jsonMediaType {
		return wrongMediaType("Content-Type must be " + jsonMediaType + ", not " + clip(value))
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return wrongMediaType("the charset of " + jsonMediaType + " must be utf-8, not " + clip(charset))
	}
	return nil
}

// refuseNull is called before each declared value is decoded. What is kept as text is left to the rules: it may be any
// JSON value unless they say otherwise.
func refuseNull(dec *jsontext.Decoder, v any) error {
	if dec.PeekKind() != 'n' {
		return errors.ErrUnsupported // goes on as if there were no such function
	}
	if _, text := v.(*jsontext.Value); text {
		return errors.ErrUnsupported
	}
	return &json.SemanticError{JSONKind: 'n', GoType: reflect.TypeOf(v).Elem(), Err: errNull}
}

// newValidator returns a validator with the rules that the tags of package api use. It panics if a pattern is not a
// regular expression.
func newValidator(patterns map[string]string) *validator.Validate {
	compiled := make(map[string]*regexp.Regexp, len(patterns))
	for name, expr := range patterns {
		compiled[name] = regexp.MustCompile(expr)
	}
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name
	})
	mustRegister(v, "json_object", func(fl validator.FieldLevel) bool {
		return jsontext.Value(fl.Field().Bytes()).Kind() == '{'
	})
	mustRegister(v, "pattern", func(fl validator.FieldLevel) bool {
		return compiled[fl.Param()].MatchString(fl.Field().String())
	})
	return v
}

func mustRegister(v *validator.Validate, name string, rule validator.Func) {
	if err := v.RegisterValidation(name, rule); err != nil {
		panic(err) // the name is one that validator reserves
	}
}
