package handlers

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"charmer/api"
)

// docsFiles is the one route that is no operation of openapi.yaml: what the page at /docs loads.
const docsFiles = "/docs/*"

// routes builds the routes: the operations of openapi.yaml, and beside them only docsFiles.
func (s *Server) routes() chi.Router {
	r := chi.NewRouter()
	r.Use(middleware.GetHead) // HEAD as GET
	r.NotFound(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errNotFound) })
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) { s.methodNotAllowed(w, req, r) })
	api.Routes{Handler: s, CheckParam: s.bind.checkParam, Fail: s.fail}.Register(r)
	r.Get(docsFiles, func(w http.ResponseWriter, r *http.Request) {
		if err := s.getDocsFile(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
	return r
}

// methodNotAllowed names the methods that the path has. chi asks for this at any path if it does not know the method.
func (s *Server) methodNotAllowed(w http.ResponseWriter, r *http.Request, routes chi.Routes) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), method, r.URL.EscapedPath()) {
			w.Header().Add("Allow", method)
			if method == http.MethodGet {
				w.Header().Add("Allow", http.MethodHead)
			}
		}
	}
	if w.Header().Get("Allow") == "" {
		s.fail(w, r, errNotFound)
		return
	}
	s.fail(w, r, errMethodNotAllowed)
}
