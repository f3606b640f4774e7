package handlers

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"charmer/api"
	"charmer/poolsvc"
	"charmer/workerproc"
)

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestTheIndexIsJSONForProgramsAndAPageForBrowsers(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	for accept, want := range map[string]string{"": jsonMediaType, "*/*": jsonMediaType, "image/png": jsonMediaType, browser: htmlText} {
		for _, method := range []string{"GET", "HEAD"} {
			r := httptest.NewRequest(method, "/", nil)
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			c.ServeHTTP(w, r)
			if got := w.Header().Get("Content-Type"); w.Code != 200 || got != want || w.Header().Get("Vary") != "Accept" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s with Accept %q: %d %s, want %s; %v", method, accept, w.Code, got, want, w.Header())
			}
			if method == "GET" {
				for _, fault := range c.contract.Faults(r, w.Code, w.Header(), w.Body.Bytes()) {
					t.Errorf("Accept %q: %s", accept, fault)
				}
			}
		}
	}
}

func TestTheLinksOfTheIndexLeadSomewhere(t *testing.T) {
	c := readyPool(t)
	index := into[api.Index](t, c, "/")
	if index.Name != "charmer" || index.Version != "0.1.0" {
		t.Errorf("%+v", index)
	}
	text, err := json.Marshal(index.Links)
	if err != nil {
		t.Fatal(err)
	}
	var targets map[string]string
	if err := json.Unmarshal(text, &targets); err != nil {
		t.Fatal(err)
	}
	for _, target := range linked(request(c, "GET", "/", "Accept", browser).Body.String()) {
		targets["page: "+target] = target
	}
	for name, target := range targets {
		if strings.HasPrefix(target, "/") || strings.Contains(target, ":") {
			t.Errorf("%s is %q, which does not hold behind a proxy with a path of its own", name, target)
		}
		if w := request(c, "GET", "/"+target); w.Code != 200 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

// hostileWorker has text that tries to get out of wherever it is put.
type hostileWorker struct{ *stubWorker }

const hostile = `</p></pre></style><script>alert(1)</script><img src=x onerror=alert(1)>" onload="alert(1)' {{.}} $(id) \`

func (hostileWorker) Commands() []workerproc.Command {
	return []workerproc.Command{{Name: hostile, Doc: hostile + "\n\n" + hostile, Stream: true, Parameters: []workerproc.Parameter{
		{Name: "'; reboot; '" + hostile, Annotation: hostile, Required: true}, {Name: "kw", Variadic: true, Annotation: "int"}}}}
}

func withHostileWorker(cfg *poolsvc.Config) {
	cfg.Spawn = func(_ context.Context, _ int, id uint64, _ func(int, string)) (poolsvc.Worker, error) {
		return hostileWorker{&stubWorker{pid: 1000 + int(id), done: make(chan struct{})}}, nil
	}
}

// readable is what a browser shows of an element's content.
func readable(markup string) string {
	return html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(markup, ""))
}

func TestTextOfTheAppStaysText(t *testing.T) {
	c := readyPool(t, withHostileWorker)
	page := request(c, "GET", "/", "Accept", browser).Body.String()
	if strings.Count(page, "<script") != 1 || strings.Contains(page, "<img src=x") || strings.Contains(page, `" onload`) || strings.Count(page, "</style>") != 1 {
		t.Errorf("text has become markup:\n%s", page)
	}
	docs := regexp.MustCompile(`(?s)<p class="doc">(.*?)</p>`).FindAllStringSubmatch(page, -1)
	if len(docs) != 2 || readable(docs[0][1]) != hostile || readable(docs[1][1]) != hostile {
		t.Errorf("the docstring is shown as %q", docs)
	}
	line := regexp.MustCompile(`(?s)<div class="line"><code[^>]*>(.*?)</code>`).FindStringSubmatch(page)
	if line == nil {
		t.Fatalf("no line to copy:\n%s", page)
	}
	words := shellWords(t, readable(line[1]))
	if len(words) != 9 || words[0] != "curl" || !strings.HasPrefix(words[2], "http://example.com/commands/") {
		t.Fatalf("%q", words)
	}
	if name, err := url.PathUnescape(strings.TrimPrefix(words[2], "http://example.com/commands/")); err != nil || name != hostile {
		t.Errorf("the line calls %q: %v", name, err)
	}
	var args map[string]string
	if err := json.Unmarshal([]byte(words[8]), &args); err != nil || len(args) != 1 {
		t.Errorf("%v in %s", err, words[8])
	}
	if _, ok := args["'; reboot; '"+hostile]; !ok {
		t.Errorf("arguments %q", args)
	}
}

// shellWords splits a line as a POSIX shell does (section 2.2), and fails where anything but words would come of it.
func shellWords(t *testing.T, line string) (words []string) {
	t.Helper()
	word, open := "", false
	quoted := false
	for i := 0; i < len(line); i++ {
		switch b := line[i]; {
		case quoted && b == '\'':
			quoted = false
		case quoted:
			word += string(b)
		case b == '\'':
			quoted, open = true, true
		case b == '\\' && i+1 < len(line):
			i++
			word, open = word+string(line[i]), true
		case b == ' ':
			if open {
				words = append(words, word)
			}
			word, open = "", false
		case strings.IndexByte(`$"`+"`"+`;&|<>()*?[#~=%!{}`+"\n", b) >= 0:
			t.Fatalf("the shell would act on %q at %d of %s", b, i, line)
		default:
			word, open = word+string(b), true
		}
	}
	if quoted {
		t.Fatalf("open quote in %s", line)
	}
	return append(words, word)
}

func TestTheHostOfARequestCannotPutWordsIntoALine(t *testing.T) {
	c := readyPool(t)
	for host, want := range map[string]string{"pool.example:8080": "http://pool.example:8080/", "[::1]:8080": "http://[::1]:8080/",
		"a';reboot;'": "http://localhost:8080/", "a$(id)": "http://localhost:8080/", "": "http://localhost:8080/", "a b": "http://localhost:8080/"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		r.Header.Set("Accept", browser)
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if page := w.Body.String(); w.Code != 200 || !strings.Contains(page, `<span class="base">`+want+`</span>`) {
			t.Errorf("Host %q: %d, not %s in\n%s", host, w.Code, want, page)
		}
	}
}

func TestThePageTellsTheStateOfThePool(t *testing.T) {
	starting := request(newTestServer(t, io.Discard), "GET", "/", "Accept", browser).Body.String()
	if !strings.Contains(starting, "<b>starting</b>") || !strings.Contains(starting, `http-equiv="refresh"`) || !strings.Contains(starting, "known once a worker") {
		t.Errorf("while it starts:\n%s", starting)
	}
	ready := request(readyPool(t), "GET", "/", "Accept", browser).Body.String()
	if !strings.Contains(ready, "<b>ready</b>") || strings.Contains(ready, `http-equiv="refresh"`) || !strings.Contains(ready, `</span>commands/ok'</span>`) {
		t.Errorf("when it is ready:\n%s", ready)
	}
	failing := newTestServer(t, io.Discard, func(cfg *poolsvc.Config) {
		cfg.Spawn = func(context.Context, int, uint64, func(int, string)) (poolsvc.Worker, error) {
			return nil, &workerproc.StartError{Stage: "import app", Detail: "SyntaxError", Traceback: "line 7 <script>"}
		}
	})
	request(failing, "GET", "/health")
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/execute", strings.NewReader(`{"command":"ok"}`))
	r.Header.Set("Content-Type", "application/json")
	failing.ServeHTTP(w, r) // is refused once a start has failed
	failed := request(failing, "GET", "/", "Accept", browser)
	if text := failed.Body.String(); failed.Code != http.StatusOK || !strings.Contains(text, "<b>failed</b>") || !strings.Contains(text, "line 7 &lt;script&gt;") {
		t.Errorf("when it fails: %d\n%s", failed.Code, text)
	}
}

func TestExamplesOfArgumentsAreJSON(t *testing.T) {
	hint := func(s string) *string { return &s }
	args, err := exampleArgs([]api.Parameter{
		{Name: "a", Required: true, Annotation: hint("int")}, {Name: "b", Required: true, Annotation: hint("'list[str]'")},
		{Name: "c", Annotation: hint("int")}, {Name: "d", Required: true, Annotation: hint("Report | None")}, {Name: "e", Required: true},
		{Name: "f", Required: true, Variadic: true}, {Name: "g", Required: true, Annotation: hint("dict[str, int]")},
	})
	if want := `{"a":1,"b":[],"d":"…","e":"…","g":{}}`; err != nil || string(args) != want {
		t.Errorf("%s, %v, want %s", args, err, want)
	}
	for hint, text := range examples {
		if !json.Valid([]byte(text)) {
			t.Errorf("%s for %s is not JSON", text, hint)
		}
	}
}
