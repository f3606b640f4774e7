// Package contracttest checks replies against openapi.yaml in tests. It reads the document with a library that shares
// nothing with the generated code, and is too slow for anything else.
package contracttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Contract is openapi.yaml.
type Contract struct {
	doc        *openapi3.T
	router     routers.Router
	everywhere []string // headers that every reply has
}

// Load reads openapi.yaml from path.
func Load(path string) (*Contract, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(loader.Context); err != nil {
		return nil, err
	}
	everywhere, err := headersOfAll(doc)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // any host will do
	allowNull(doc)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &Contract{doc: doc, router: router, everywhere: everywhere}, nil
}

// allowNull lets members without a type be null, as JSON Schema has it. The library takes them for ones that cannot be.
func allowNull(doc *openapi3.T) {
	for _, schema := range doc.Components.Schemas {
		for _, member := range schema.Value.Properties {
			if member.Ref == "" && member.Value.Type.IsEmpty() {
				member.Value.Type = &openapi3.Types{"null", "boolean", "number", "string", "array", "object"}
			}
		}
	}
}

// Operations lists what the document describes, each as "METHOD path".
func (c *Contract) Operations() []string {
	var operations []string
	for path, item := range c.doc.Paths.Map() {
		for method := range item.Operations() {
			operations = append(operations, method+" "+path)
		}
	}
	return operations
}

// Transport makes requests through next and fails t for every reply that does not keep the contract. With sample above 1 it
// checks only one in sample of the replies with status 200, and all others: for tests that make thousands of calls.
func (c *Contract) Transport(t testing.TB, next *http.Transport, sample int64) http.RoundTripper {
	return &transport{Transport: next, contract: c, t: t, sample: sample}
}

type transport struct {
	*http.Transport
	contract *Contract
	t        testing.TB
	sample   int64
	seen     atomic.Int64
}

func (r *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	reply, err := r.Transport.RoundTrip(req)
	if err != nil || (reply.StatusCode == http.StatusOK && r.seen.Add(1)%r.sample != 0) {
		return reply, err
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return nil, err
	}
	if err := reply.Body.Close(); err != nil {
		return nil, err
	}
	reply.Body = io.NopCloser(bytes.NewReader(body))
	for _, fault := range r.contract.Faults(req, reply.StatusCode, reply.Header, body) {
		r.t.Errorf("%s %s: status %d: %s\n%.2000s", req.Method, req.URL.Path, reply.StatusCode, fault, body)
	}
	return reply, nil
}

// Faults lists what is wrong with a reply to req by what openapi.yaml says about that operation: the status and the content
// type are documented, the body fits the schema, and the documented headers are there (Retry-After if the problem is
// retryable) and no others. Where the document has no such path or method, the reply must be a problem.
func (c *Contract) Faults(req *http.Request, status int, header http.Header, body []byte) []string {
	head := req.Method == http.MethodHead
	lookup := req.Clone(context.Background())
	if head {
		lookup.Method = http.MethodGet
	}
	route, params, err := c.router.FindRoute(lookup)
	if err != nil {
		route = c.undocumented(status)
	}
	ref := route.Operation.Responses.Status(status)
	if ref == nil {
		ref = route.Operation.Responses.Default()
	}
	if ref == nil {
		return []string{"the status is not documented"}
	}
	response := ref.Value
	var faults []string
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: lookup, PathParams: params, Route: route},
		Status:                 status,
		Header:                 header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: head || isText(response, header)},
	})
	if err != nil {
		faults = append(faults, err.Error())
	}
	if len(response.Content) > 0 && response.Content.Get(header.Get("Content-Type")) == nil {
		faults = append(faults, "the content type is not documented")
	}
	if (len(response.Content) == 0 || head) && len(body) > 0 {
		faults = append(faults, "there is a body")
	}
	if head {
		return faults
	}
	var p problem
	if mediaType(header) == "application/problem+json" {
		_ = json.Unmarshal(body, &p) // its faults have been found above
		faults = append(faults, p.faults(req, status, header)...)
	}
	return append(faults, c.headerFaults(response, header, p.Retryable)...)
}

// Misfit says how a JSON text does not fit a schema of the document, which is one of those under components; it is nil if it fits.
func (c *Contract) Misfit(schema string, text []byte) error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	return c.doc.ValidateSchemaJSON(c.doc.Components.Schemas[schema].Value, value)
}

// problem is a problem document, declared apart from the generated types.
type problem struct {
	Type, Title, Detail, Instance, Code string
	Status                              int
	Retryable                           bool
	RequestID                           string `json:"request_id"`
	Exception                           struct{ Code string }
}

// faults lists what a schema cannot find: where the members of a problem disagree with the reply.
func (p problem) faults(req *http.Request, status int, header http.Header) []string {
	var faults []string
	if p.Status != status {
		faults = append(faults, fmt.Sprintf("the problem's status is %d", p.Status))
	}
	code := p.Code
	if p.Exception.Code != "" { // chosen by the app; the type stays that of a failed command
		code = "command_failed"
	}
	if p.Type != "urn:charmer:problem:"+code || p.Title == "" || p.Detail == "" {
		faults = append(faults, fmt.Sprintf("the problem's type is %q, its title %q, its detail %q", p.Type, p.Title, p.Detail))
	}
	if p.Instance != req.URL.Path {
		faults = append(faults, fmt.Sprintf("the problem's instance is %q", p.Instance))
	}
	if id := header.Get("X-Request-Id"); p.RequestID != id {
		faults = append(faults, fmt.Sprintf("the problem's request id is %q, the header's %q", p.RequestID, id))
	}
	return faults
}

// undocumented is a route whose every reply is a problem.
func (c *Contract) undocumented(status int) *routers.Route {
	name := "Problem"
	if status == http.StatusMethodNotAllowed {
		name = "MethodNotAllowed"
	}
	responses := openapi3.NewResponses(openapi3.WithName("default", c.doc.Components.Responses[name].Value))
	return &routers.Route{Spec: c.doc, Operation: &openapi3.Operation{Responses: responses}}
}

// isText reports whether the reply is documented as text, which kin-openapi would try to decode by its content type.
func isText(response *openapi3.Response, header http.Header) bool {
	media := response.Content.Get(header.Get("Content-Type"))
	return media != nil && media.Schema.Value.Type.Is("string")
}

func mediaType(header http.Header) string {
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return media
}
