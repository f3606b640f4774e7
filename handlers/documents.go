package handlers

import (
	"net/http"
	"strings"
	"sync"

	"charmer/handlers/openapi"
	"charmer/poolsvc"
)

// documents are the contract with the commands of the app. They are made once for what the app offers, not for each request.
type documents struct {
	contract []byte // openapi.yaml as JSON
	pool     *poolsvc.Pool

	mu       sync.Mutex // guards the fields below, and is held while the documents are made
	made     bool
	of       *poolsvc.Catalogue // what they were made of
	v31, v30 document
	err      error
}

// document is one of them, and its ETag.
type document struct {
	body []byte
	etag string
}

// now returns the documents for what the app offers now; before its first worker is ready that is the contract alone.
func (d *documents) now() (v31, v30 document, err error) {
	offers := d.pool.Catalogue()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.made || d.of != offers {
		d.v31, d.v30, d.err = d.make(offers)
		d.made, d.of = true, offers
	}
	return d.v31, d.v30, d.err
}

func (d *documents) make(offers *poolsvc.Catalogue) (v31, v30 document, err error) {
	var commands []openapi.Command
	if offers != nil {
		for _, c := range offers.Commands {
			commands = append(commands, openapi.Command{Name: c.Name, Summary: c.Summary, Doc: c.Doc, Args: c.ArgsSchema, Result: c.ResultSchema, Stream: c.Stream,
				Fits: func(args []byte) bool { return offers.Fits(c.Name, args) }})
		}
	}
	live, err := openapi.Live(d.contract, commands)
	if err != nil {
		return v31, v30, err
	}
	down, err := openapi.Down(live)
	return newDocument(live), newDocument(down), err
}

func newDocument(body []byte) document {
	return document{body: body, etag: `"` + digest(body) + `"`}
}

// GetOpenapiJSON answers GET /openapi.json.
func (s *Server) GetOpenapiJSON(w http.ResponseWriter, r *http.Request) error {
	v31, _, err := s.documents.now()
	return replyDocument(w, r, v31, err)
}

// GetOpenapi30JSON answers GET /openapi-3.0.json.
func (s *Server) GetOpenapi30JSON(w http.ResponseWriter, r *http.Request) error {
	_, v30, err := s.documents.now()
	return replyDocument(w, r, v30, err)
}

// replyDocument sends a document, unless the client has it.
func replyDocument(w http.ResponseWriter, r *http.Request, d document, err error) error {
	if err != nil {
		return err
	}
	sendTagged(w, r, jsonMediaType, d.etag, d.body)
	return nil
}

// sendTagged sends what the client may keep but asks for each time, unless the client has it. That is all that the contract has of
// http.ServeContent, which also answers 206, 412 and 416.
func sendTagged(w http.ResponseWriter, r *http.Request, contentType, etag string, body []byte) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", etag)
	if has(r.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	send(w, http.StatusOK, contentType, body)
}

// has reports whether an If-None-Match names etag, compared weakly (RFC 9110, section 13.1.2). No etag of ours has a comma in it.
func has(values []string, etag string) bool {
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}
