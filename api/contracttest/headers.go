package contracttest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// everyReply is where the document names the headers of all replies.
const everyReply = "x-every-reply"

// ofHTTP are the headers that a message has by itself, which no operation documents. Server is that of a proxy on the way.
var ofHTTP = []string{"Connection", "Content-Length", "Content-Type", "Date", "Server", "Transfer-Encoding"}

// headersOfAll reads the names of the headers that every reply has.
func headersOfAll(doc *openapi3.T) ([]string, error) {
	named, _ := doc.Extensions[everyReply].(map[string]any)
	names := slices.Sorted(maps.Keys(named))
	for _, name := range names {
		if header := doc.Components.Headers[name]; header == nil || !header.Value.Required {
			return nil, fmt.Errorf("%s: %s is not among the components, or not required", everyReply, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the document has no %s", everyReply)
	}
	return names, nil
}

// headerFaults compares the headers of a reply with those that are documented, both ways.
func (c *Contract) headerFaults(response *openapi3.Response, header http.Header, retryable bool) []string {
	var faults []string
	known := append(slices.Collect(maps.Keys(response.Headers)), slices.Concat(c.everywhere, ofHTTP)...)
	for name := range header {
		if !slices.ContainsFunc(known, func(other string) bool { return strings.EqualFold(name, other) }) {
			faults = append(faults, fmt.Sprintf("header %s is not documented", name))
		}
	}
	for _, name := range c.everywhere {
		if header.Get(name) == "" {
			faults = append(faults, fmt.Sprintf("header %s, which every reply has, is missing", name))
		}
	}
	for name, documented := range response.Headers {
		want, told := wanted(name, documented.Value.Required, mediaType(header), retryable)
		if got := header.Get(name) != ""; told && got != want {
			faults = append(faults, fmt.Sprintf("header %s is there: %v, want %v", name, got, want))
		}
	}
	return faults
}

// wanted says whether a reply must have a documented header or must not, or nothing where the reply alone does not tell.
func wanted(name string, required bool, media string, retryable bool) (want, told bool) {
	switch name {
	case "Retry-After":
		return retryable, true
	case "Server-Timing": // a stream has it in its last event
		return media == "application/json", true
	case "X-Accel-Buffering":
		return media == "text/event-stream" || media == "application/x-ndjson", true
	case "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Referrer-Policy": // of pages, also when the client has them
		return media != "application/json", true
	}
	return true, required
}

// Response is a documented reply that is no refusal.
type Response struct {
	Operation      string // "METHOD path"
	Status         int
	Headers, Media []string
}

// Responses lists the documented replies with a status below 400.
func (c *Contract) Responses() (responses []Response) {
	for path, item := range c.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for text, ref := range operation.Responses.Map() {
				if status, err := strconv.Atoi(text); err == nil && status < http.StatusBadRequest {
					responses = append(responses, Response{
						Operation: method + " " + path, Status: status,
						Headers: slices.Collect(maps.Keys(ref.Value.Headers)), Media: slices.Collect(maps.Keys(ref.Value.Content)),
					})
				}
			}
		}
	}
	return responses
}

// Operation returns the documented operation of a request, as "METHOD path", or nothing.
func (c *Contract) Operation(req *http.Request) string {
	route, _, err := c.router.FindRoute(req)
	if err != nil {
		return ""
	}
	return route.Method + " " + route.Path
}

// Lists reports whether the document names the status among the replies to a request, and not only by default.
func (c *Contract) Lists(req *http.Request, status int) bool {
	route, _, err := c.router.FindRoute(req)
	return err == nil && route.Operation.Responses.Status(status) != nil
}
