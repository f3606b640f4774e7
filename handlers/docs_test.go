package handlers

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// request sends a request whose headers are names and values by turns.
func request(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// linked lists what a page loads or links to.
func linked(page string) (targets []string) {
	for _, match := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		targets = append(targets, match[1])
	}
	return targets
}

// foreign lists the addresses of other hosts in a text. Names of XML namespaces are none.
func foreign(text string) []string {
	text = strings.NewReplacer("http://www.w3.org/2000/svg", "", `http://www.w3.org/2000/svg`, "").Replace(text)
	return regexp.MustCompile(`(?i)(?:https?:|["'(=])//[a-z0-9[][^\s"')]*`).FindAllString(text, -1)
}

func TestEveryFileOfTheDocsPageIsServedAndMayBeKept(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	page := c.answer(t, "GET", "/docs", "")
	if page.Code != 200 || page.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%d %v", page.Code, page.Header())
	}
	var files []string
	for _, target := range linked(page.Body.String()) {
		w := request(c, "GET", "/"+strings.TrimPrefix(target, "./"))
		if w.Code != 200 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
		name, isFile := strings.CutPrefix(target, "docs/")
		if !isFile {
			continue
		}
		name, _, _ = strings.Cut(name, "?")
		files = append(files, name)
		if got := w.Header().Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("%s: Cache-Control %q", target, got)
		}
		for _, other := range []string{"/docs/" + name, "/docs/" + name + "?v=", "/docs/" + name + "?v=0"} {
			if got := request(c, "GET", other).Header().Get("Cache-Control"); got != "no-cache" {
				t.Errorf("%s, which may change: Cache-Control %q", other, got)
			}
		}
	}
	for name := range c.Handler.(*Server).docs.files {
		if !slices.Contains(files, name) {
			t.Errorf("%s is not of the page", name)
		}
	}
}

func TestWhatIsServedForPeopleNamesNoOtherHost(t *testing.T) {
	s := newTestServer(t, io.Discard)
	for path, accept := range map[string]string{"/": "text/html", "/docs": "", "/docs/docs.js": "", "/docs/docs.css": "", "/docs/icon.svg": "", "/docs/swagger-ui.css": ""} {
		w := request(s, "GET", path, "Accept", accept)
		if found := foreign(w.Body.String()); w.Code != 200 || len(found) > 0 {
			t.Errorf("%s: %d, %q", path, w.Code, found)
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") || len(foreign(policy)) > 0 || strings.Contains(policy, "*") {
			t.Errorf("%s: Content-Security-Policy %q", path, policy)
		}
	}
	for _, text := range []string{`<img src="//cdn.example/x">`, `url(https://fonts.example)`, `@import 'http://a'`} {
		if len(foreign(text)) != 1 {
			t.Errorf("the test does not see the other host in %s", text)
		}
	}
}

func TestFilesOfTheDocsPageComeInACodingThatTheClientTakes(t *testing.T) {
	s := newTestServer(t, io.Discard)
	tags := map[string]bool{}
	for _, name := range []string{"swagger-ui-bundle.js", "swagger-ui.css"} {
		packed := request(s, "GET", "/docs/"+name, "Accept-Encoding", "gzip, br")
		plain := request(s, "GET", "/docs/"+name, "Accept-Encoding", "br, gzip;q=0")
		reader, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := io.ReadAll(reader)
		if err != nil || packed.Header().Get("Content-Encoding") != "gzip" || plain.Header().Get("Content-Encoding") != "" {
			t.Fatalf("%s: %v, %v, %v", name, err, packed.Header(), plain.Header())
		}
		if len(unpacked) < 100_000 || string(unpacked) != plain.Body.String() {
			t.Errorf("%s: %d bytes packed, %d plain", name, len(unpacked), plain.Body.Len())
		}
		for _, w := range []*httptest.ResponseRecorder{packed, plain} {
			if w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: Vary %q", name, w.Header().Get("Vary"))
			}
			tag := w.Header().Get("ETag")
			if tags[name+tag] || !strings.HasPrefix(tag, `"`) {
				t.Errorf("%s: ETag %s", name, tag)
			}
			tags[name+tag] = true
		}
	}
}

func TestWhatTheBrowserHasIsNotSentAgain(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	for _, path := range []string{"/docs", "/docs/docs.js", "/docs/swagger-ui.css"} {
		first := request(c, "GET", path)
		again := request(c, "GET", path, "If-None-Match", first.Header().Get("ETag"))
		if again.Code != http.StatusNotModified || again.Body.Len() > 0 || again.Header().Get("ETag") != first.Header().Get("ETag") {
			t.Errorf("%s: %d, %d bytes, %v", path, again.Code, again.Body.Len(), again.Header())
		}
		if other := request(c, "GET", path, "If-None-Match", `"other"`); other.Code != 200 || other.Body.String() != first.Body.String() {
			t.Errorf("%s: %d, %d bytes", path, other.Code, other.Body.Len())
		}
		if head := request(c, "HEAD", path); head.Code != 200 || head.Header().Get("Content-Type") != first.Header().Get("Content-Type") {
			t.Errorf("HEAD %s: %d %v", path, head.Code, head.Header())
		}
	}
}

func TestBelowDocsThereIsNothingElse(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	for _, name := range []string{"nope", "docs.html", "landing.html", "swagger-ui.css.gz", "oauth2-redirect.html", "pages/docs.js", "docs.js/", "../docs.js",
		"%2e%2e/docs.js", "..%2fdocs.js", "docs.js%00"} {
		if w := c.answer(t, "GET", "/docs/"+name, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	w := request(c, "GET", "/docs/")
	if w.Code != http.StatusPermanentRedirect || w.Header().Get("Location") != "../docs" {
		t.Errorf("/docs/: %d to %q", w.Code, w.Header().Get("Location"))
	}
}
