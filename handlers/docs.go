package handlers

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/swaggest/swgui/v5/static"
)

// pages are the pages for people, and what belongs to them.
//
//go:embed pages/*.html pages/*.css pages/*.js pages/*.svg
var pages embed.FS

// Media types of pages.
const (
	htmlMediaType = "text/html"
	htmlText      = htmlMediaType + "; charset=utf-8"
	cssText       = "text/css; charset=utf-8"
	scriptText    = "text/javascript; charset=utf-8"
)

// docsPolicy lets the page at /docs load the files below it and call this service, and nothing else. Swagger UI has its icons in
// data: URLs.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs is the page at /docs and the files that it loads. It does not change.
type docs struct {
	page    []byte
	version string // of the files, in the links to them
	files   map[string]docsFile
}

// docsFile is a file below /docs/.
type docsFile struct {
	contentType string
	from        fs.FS
	path        string
	compressed  bool // with gzip, as Swagger UI is in the binary
}

func newDocs(version string) (*docs, error) {
	d := &docs{files: map[string]docsFile{
		"swagger-ui-bundle.js": {scriptText, static.FS, "swagger-ui-bundle.js.gz", true},
		"swagger-ui.css":       {cssText, static.FS, "swagger-ui.css.gz", true},
		"docs.js":              {scriptText, pages, "pages/docs.js", false},
		"docs.css":             {cssText, pages, "pages/docs.css", false},
		"icon.svg":             {"image/svg+xml", pages, "pages/icon.svg", false},
	}}
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		text, err := fs.ReadFile(d.files[name].from, d.files[name].path)
		if err != nil {
			return nil, err
		}
		all = append(all, digest(text)...)
	}
	d.version = digest(all)
	page, err := template.ParseFS(pages, "pages/docs.html")
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = page.Execute(&text, struct{ Version, Files string }{version, d.version})
	d.page = text.Bytes()
	return d, err
}

// digest names a content.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// GetDocs answers GET /docs. The page is asked for anew each time, since it names the version of its files; it is seldom sent anew.
func (s *Server) GetDocs(w http.ResponseWriter, r *http.Request) error {
	secure(w, docsPolicy)
	sendTagged(w, r, htmlText, `"`+digest(s.docs.page)+`"`, s.docs.page)
	return nil
}

// getDocsFile answers GET /docs/*, which the contract leaves open. A link with the version of the files may be kept for good.
func (s *Server) getDocsFile(w http.ResponseWriter, r *http.Request) error {
	name := chi.URLParam(r, "*")
	if name == "" {
		w.Header().Set("Location", "../docs") // and not with a path of ours, which a proxy may have changed
		w.WriteHeader(http.StatusPermanentRedirect)
		return nil
	}
	file, ok := s.docs.files[name]
	if !ok {
		return errNotFound
	}
	header := w.Header()
	content, err := file.open(r, header)
	if err != nil {
		return err
	}
	secure(w, docsPolicy)
	header.Set("Content-Type", file.contentType)
	header.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == s.docs.version {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	header.Set("ETag", `"`+s.docs.version+header.Get("Content-Encoding")+`"`)
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

// open returns the content of a file in the coding that the client takes, and says in header which that is.
func (f docsFile) open(r *http.Request, header http.Header) (io.ReadSeeker, error) {
	text, err := fs.ReadFile(f.from, f.path)
	if err != nil || !f.compressed {
		return bytes.NewReader(text), err
	}
	header.Add("Vary", "Accept-Encoding")
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		header.Set("Content-Encoding", "gzip")
		return bytes.NewReader(text), nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	text, err = io.ReadAll(reader)
	return bytes.NewReader(text), err
}

// secure sets what a browser is to keep to with a page.
func secure(w http.ResponseWriter, policy string) {
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
}
