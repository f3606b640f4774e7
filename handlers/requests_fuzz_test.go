package handlers

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"pgregory.net/rapid"

	"charmer/api/contracttest"
	"charmer/poolsvc"
)

// FuzzRequests sends requests one after the other, good ones and others, to a service with workers in memory. Whatever is asked, each
// reply is by the contract, with a status that the document lists for that operation, and none is a bug of the service. Time is virtual.
func FuzzRequests(f *testing.F) {
	if _, err := loadContract(); err != nil {
		f.Fatal(err)
	}
	d := newRequestDrawer(f)
	for _, seed := range []string{"", strings.Repeat("\x00", 400), strings.Repeat("\x01\x02\x03\x05\x07\x0b\x0d\x11", 100), strings.Repeat("\xff\x80\x40", 300)} {
		f.Add([]byte(seed))
	}
	property := rapid.MakeFuzz(func(rt *rapid.T) { d.converse(rt) })
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			d.service = newChecked(t, newTestServer(t, io.Discard, withVaried(nil), func(cfg *poolsvc.Config) { cfg.Workers = 1 }))
			property(t, data)
		})
	})
}

// TestConversationsKeepTheContract is FuzzRequests with what rapid draws.
func TestConversationsKeepTheContract(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds; the seeds of FuzzRequests do not")
	}
	d := newRequestDrawer(t)
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			d.service = newChecked(t, newTestServer(t, io.Discard, withVaried(nil), func(cfg *poolsvc.Config) { cfg.Workers = 1 }))
			d.converse(rt)
		})
	})
}

// requestDrawer draws requests for a service. What is in its schemas beside those of openapi.yaml are names that the service knows.
type requestDrawer struct {
	service checked
	bodies  map[string]*openapi3.Schema // by "METHOD path"
	paths   []string                    // "METHOD path"
	leases  []string                    // that were given in this conversation
	known   map[string]*openapi3.Schema // of members and parameters that name something
}

func newRequestDrawer(t testing.TB) *requestDrawer {
	c := newContract(t)
	d := &requestDrawer{bodies: map[string]*openapi3.Schema{}}
	command := openapi3.NewStringSchema()
	for _, one := range variedCommands {
		command.Enum = append(command.Enum, one.Name)
	}
	args := openapi3.NewObjectSchema().WithProperty("n", openapi3.NewIntegerSchema().WithMin(1).WithMax(9)).
		WithProperty("how", openapi3.NewStringSchema().WithEnum("air", "sea"))
	args.Required = []string{"n"}
	d.known = map[string]*openapi3.Schema{
		"command": command, "args": args, "session_id": openapi3.NewStringSchema().WithEnum("u1", "u2"), "request_id": openapi3.NewStringSchema().WithEnum("r1"),
		"worker_id": openapi3.NewIntegerSchema().WithMin(1).WithMax(3), "broadcast_id": openapi3.NewStringSchema().WithEnum("b1"),
	}
	for path, item := range c.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			at := method + " " + path
			d.paths = append(d.paths, at)
			if operation.RequestBody == nil {
				continue
			}
			schema := *operation.RequestBody.Value.Content.Get(jsonMediaType).Schema.Value
			if path == "/commands/{command}" {
				schema = *args
			}
			properties := openapi3.Schemas{}
			for name, member := range schema.Properties {
				if named := d.known[name]; named != nil {
					member = openapi3.NewSchemaRef("", named)
				}
				properties[name] = member
			}
			schema.Properties = properties
			d.bodies[at] = &schema
		}
	}
	slices.Sort(d.paths)
	return d
}

// converse sends some requests and checks the replies.
func (d *requestDrawer) converse(t *rapid.T) {
	d.leases = nil
	for range rapid.IntRange(1, 8).Draw(t, "requests") {
		r, body := d.request(t)
		w := d.send(r)
		if w == nil {
			continue
		}
		where := r.Method + " " + r.URL.String() + " " + body
		for _, fault := range d.service.contract.Faults(r, w.Code, w.Header(), w.Body.Bytes()) {
			t.Errorf("%s\n%d: %s\n%.1000s", where, w.Code, fault, w.Body)
		}
		if w.Code == http.StatusInternalServerError || !listed(d.service.contract, r, w.Code) {
			t.Errorf("%s\n%d, which the document does not list there:\n%.1000s", where, w.Code, w.Body)
		}
		if at, found := strings.CutPrefix(w.Header().Get("Location"), "/checkout/"); found {
			d.leases = append(d.leases, at)
		}
	}
}

// clientPatience is how long a client waits. What may be asked for goes up to a day, in which pools do a lot even if time is virtual.
const clientPatience = 10 * time.Second

// send returns the reply, or nil if the client left before there was one.
func (d *requestDrawer) send(r *http.Request) (w *httptest.ResponseRecorder) {
	ctx, leave := context.WithTimeout(r.Context(), clientPatience)
	defer leave()
	w = httptest.NewRecorder()
	defer func() {
		if cause := recover(); cause != nil {
			if cause != http.ErrAbortHandler || ctx.Err() == nil {
				panic(cause)
			}
			w = nil
		}
	}()
	d.service.ServeHTTP(w, r.WithContext(ctx))
	return w
}

// listed reports whether a status may be the answer. A path with an empty segment is none for the library that reads the document.
func listed(c *contracttest.Contract, r *http.Request, status int) bool {
	if c.Operation(r) == "" {
		return status == http.StatusNotFound || (status == http.StatusBadRequest && strings.Contains(r.URL.Path+"/", "//"))
	}
	return c.Lists(r, status)
}

func (d *requestDrawer) request(t *rapid.T) (r *http.Request, body string) {
	at := rapid.SampledFrom(d.paths).Draw(t, "operation")
	if rapid.Bool().Draw(t, "one with a body") {
		at = rapid.SampledFrom([]string{"POST /execute", "POST /commands/{command}", "POST /checkout", "POST /mcp", "POST /checkout/{lease_id}/renew"}).Draw(t, "operation")
	}
	method, path, _ := strings.Cut(at, " ")
	parameters := d.parameters()
	for _, name := range slices.Sorted(maps.Keys(parameters)) { // rapid draws in an order that must be the same each time
		if schema := parameters[name]; strings.Contains(path, "{"+name+"}") {
			value := strings.Trim(declared(t, schema), `"`)
			path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
		}
	}
	r = httptest.NewRequest(method, "http://localhost", nil)
	r.URL.Path, r.URL.RawPath = "", ""
	target, err := url.Parse("http://localhost" + path + d.query(t, at))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	r.URL = target
	if schema := d.bodies[at]; schema != nil {
		body = d.body(t, at, schema)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", rapid.SampledFrom([]string{jsonMediaType, jsonMediaType, jsonMediaType, jsonMediaType, "application/json; charset=utf-8", "text/plain", ""}).Draw(t, "type"))
	}
	r.Header.Set("Request-Timeout-Ms", "5000")
	if oneIn(t, 8, "other timeout") {
		r.Header["Request-Timeout-Ms"] = rapid.SampledFrom([][]string{{""}, {"x"}, {"-1"}, {"0.001"}, {"NaN"}, {"Inf"}, {"1e400"}, {"1", "2"}}).Draw(t, "timeout")
	}
	r.Header.Set("Accept", rapid.SampledFrom([]string{"", "*/*", jsonMediaType, eventStream, jsonLines, "application/json, text/event-stream", browser, "*/*;q=0", ";,=\xff"}).Draw(t, "accept"))
	return r, body
}

// parameters are the schemas of what paths name.
func (d *requestDrawer) parameters() map[string]*openapi3.Schema {
	lease := openapi3.NewStringSchema().WithEnum("none")
	for _, id := range d.leases {
		lease.Enum = append(lease.Enum, id)
	}
	parameters := map[string]*openapi3.Schema{"lease_id": lease}
	for name, schema := range d.known {
		parameters[name] = schema
	}
	return parameters
}

// query draws parameters in most cases that there are.
func (d *requestDrawer) query(t *rapid.T, at string) string {
	if at != "POST /commands/{command}" || rapid.Bool().Draw(t, "no query") {
		return rapid.SampledFrom([]string{"", "", "", "?", "?usage=true", "?min_idle=1", "?min_idle=9", "?%zz", "?usage=&min_idle="}).Draw(t, "query")
	}
	values := url.Values{}
	choices := map[string][]string{
		"session_id": {"u1", "u2", "", "ä"}, "lease_id": append([]string{"none", ""}, d.leases...), "timeout_ms": {"1000", "0", "x", "0.001"},
		"checkout_timeout_ms": {"0", "10", "-1", "3600000"}, "isolation": {"fresh", "shared", "other"}, "on_disconnect": {"finish", "cancel", "x"},
	}
	for _, name := range slices.Sorted(maps.Keys(choices)) {
		if oneIn(t, 4, name) {
			values.Set(name, rapid.SampledFrom(choices[name]).Draw(t, name))
		}
	}
	return "?" + values.Encode()
}

func (d *requestDrawer) body(t *rapid.T, at string, schema *openapi3.Schema) string {
	switch {
	case oneIn(t, 12, "bytes"):
		return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
	case at == "POST /mcp":
		return message(t)
	}
	text := body(t, schema)
	if len(d.leases) > 0 && rapid.Bool().Draw(t, "on a lease") {
		text = strings.Replace(text, "{", `{"lease_id":"`+d.leases[0]+`",`, 1)
	}
	return text
}

// message draws one of the Model Context Protocol.
func message(t *rapid.T) string {
	one := func(label string, choices ...string) string { return rapid.SampledFrom(choices).Draw(t, label) }
	id := one("id", `"id":1,`, `"id":"a",`, "", `"id":null,`, `"id":[],`)
	version := one("version", `"2.0"`, `"2.0"`, `"2.0"`, `"1.0"`, "2", "null")
	method := one("method", "initialize", "ping", "tools/list", "tools/call", "tools/call", "tools/call", "notifications/initialized", "notifications/cancelled", "resources/list", "")
	params := one("params", "", `,"params":{}`, `,"params":null`, `,"params":[]`, `,"params":{"requestId":1}`, `,"params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}`)
	if method == "tools/call" && !oneIn(t, 8, "other params") {
		name := one("name", "typed", "any", "items", "raises", "chooses", "refuses", "alone", "waits", "nobody")
		params = `,"params":{"name":"` + name + `","arguments":` + one("arguments", `{"n":1}`, `{}`, `{"n":"x"}`, "null", "[]", "1") +
			`,"_meta":` + one("meta", "{}", `{"progressToken":1}`, `{"charmer/session_id":"u1"}`, `{"charmer/session_id":1}`, "null") + `}`
	}
	return `{"jsonrpc":` + version + `,` + id + `"method":"` + method + `"` + params + `}`
}
