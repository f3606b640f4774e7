package handlers

import (
	"context"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// contract is openapi.yaml as kin-openapi reads it: an oracle for request bodies that shares nothing with the generated
// code. It compiles the schemas anew for each check, which only tests can afford. Replies: see api/contracttest.
type contract struct {
	doc *openapi3.T
}

// newContract loads openapi.yaml.
func newContract(t testing.TB) *contract {
	t.Helper()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
	return &contract{doc: doc}
}

// requestBodies returns the documented request bodies by operation id.
func (c *contract) requestBodies() map[string]*openapi3.RequestBody {
	bodies := map[string]*openapi3.RequestBody{}
	for _, item := range c.doc.Paths.Map() {
		for _, op := range item.Operations() {
			if op.RequestBody != nil {
				bodies[op.OperationID] = op.RequestBody.Value
			}
		}
	}
	return bodies
}

// checkBody returns why the document refuses a request body, or nil.
func (c *contract) checkBody(body *openapi3.RequestBody, text string) error {
	return openapi3filter.ValidateRequestBody(context.Background(), &openapi3filter.RequestValidationInput{
		Request: jsonRequest(text), Route: &routers.Route{Spec: c.doc},
	}, body)
}
