package handlers

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/api"
	"charmer/handlers/openapi"
)

// landing makes the page at /, which is one document but for its icon. It does not change.
type landing struct {
	page   *template.Template
	style  template.CSS
	script template.JS
	policy string // allows style and script by their hashes, the icon, and nothing else
}

func newLanding() (*landing, error) {
	page, err := template.ParseFS(pages, "pages/landing.html")
	style, styleErr := fs.ReadFile(pages, "pages/landing.css")
	script, scriptErr := fs.ReadFile(pages, "pages/landing.js")
	if err := errors.Join(err, styleErr, scriptErr); err != nil {
		return nil, err
	}
	return &landing{page: page, style: template.CSS(style), script: template.JS(script),
		policy: "default-src 'none'; script-src " + sourceHash(script) + "; style-src " + sourceHash(style) + "; img-src 'self'; " +
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}, nil
}

// sourceHash is how a policy names an inline text (CSP level 3, section 2.3.1).
func sourceHash(text []byte) string {
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// landingData is what the page shows. Whatever is from the app may hold any text.
type landingData struct {
	Health   api.Health
	Uptime   time.Duration // whole seconds
	Refresh  bool          // the page will soon be different
	Base     string        // address of the service, with / at its end
	Commands []landingCommand
	Known    bool // what the commands are
	Style    template.CSS
	Script   template.JS
}

// landingCommand is a command on the page.
type landingCommand struct {
	api.Command
	Summary string // the first paragraph of the docstring
	More    string // the rest of it
	Path    string // of POST, below the address of the service; means nothing to a shell inside quotes
	Body    string // of that, as a word of a shell
}

// GetIndex answers GET /: a page for browsers, and JSON for all others.
func (s *Server) GetIndex(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Vary", "Accept")
	if preferred(r.Header.Values("Accept"), jsonMediaType, htmlMediaType) == htmlMediaType {
		return s.landingPage(w, r)
	}
	return reply(w, http.StatusOK, api.Index{Name: api.IndexNameCharmer, Version: s.cfg.Version, Links: api.IndexLinks{
		Commands: "commands", Docs: "docs", Health: "health", Metrics: "metrics", Openapi: "openapi.json", Stats: "stats"}})
}

func (s *Server) landingPage(w http.ResponseWriter, r *http.Request) error {
	stats := s.pool.Stats()
	data := landingData{Health: s.health(stats), Uptime: stats.Uptime.Truncate(time.Second), Base: baseOf(r),
		Style: s.landing.style, Script: s.landing.script}
	data.Refresh = data.Health.State == api.HealthStateStarting && !stats.Lazy
	list, err := s.commandList()
	data.Known = err == nil // else health tells what is the matter
	offers := s.pool.Catalogue()
	for _, c := range list.Commands {
		row, err := landingRow(c, func(args []byte) bool { return offers.Fits(c.Name, args) })
		if err != nil {
			return err
		}
		data.Commands = append(data.Commands, row)
	}
	var page bytes.Buffer
	if err := s.landing.page.Execute(&page, data); err != nil {
		return err
	}
	secure(w, s.landing.policy)
	send(w, http.StatusOK, htmlText, page.Bytes())
	return nil
}

// landingRow describes a command, with arguments that fit as far as any are found.
func landingRow(c api.Command, fits func(args []byte) bool) (landingCommand, error) {
	summary, more, _ := strings.Cut(strings.TrimSpace(c.Doc), "\n\n")
	body, err := openapi.Example(c.ArgsSchema, fits), error(nil)
	if body == nil {
		body, err = exampleArgs(c.Parameters)
	}
	return landingCommand{Command: c, Summary: summary, More: strings.TrimSpace(more), Path: "commands/" + url.PathEscape(c.Name), Body: shellWord(string(body))}, err
}

// exampleArgs are arguments for the parameters that must be given, in their order, where no schema tells.
func exampleArgs(parameters []api.Parameter) (jsontext.Value, error) {
	args := []byte{'{'}
	for _, p := range parameters {
		if !p.Required || p.Variadic {
			continue
		}
		if len(args) > 1 {
			args = append(args, ',')
		}
		var err error
		if args, err = jsontext.AppendQuote(args, p.Name); err != nil {
			return nil, err
		}
		args = append(append(args, ':'), example(value(p.Annotation))...)
	}
	return append(args, '}'), nil
}

// examples are values for the type hints that most commands have.
var examples = map[string]string{"str": `"text"`, "int": "1", "float": "1.5", "bool": "true", "list": "[]", "List": "[]", "Sequence": "[]",
	"Iterable": "[]", "tuple": "[]", "set": "[]", "dict": "{}", "Dict": "{}", "Mapping": "{}"}

// example is a JSON value that may fit a type hint, or one that shows that it is to be filled in.
func example(hint string) string {
	word, _, _ := strings.Cut(strings.Trim(hint, `'"`), "[")
	if text, ok := examples[word]; ok {
		return text
	}
	return `"…"`
}

// shellWord quotes text for a POSIX shell.
func shellWord(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// plainHost is a host, with or without a port, that means nothing to a shell inside quotes.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]_-]+$`)

// baseOf is the address by which the client knows the service, as far as it can be known here. The page's script corrects it where a
// proxy has changed it.
func baseOf(r *http.Request) string {
	host := r.Host
	if !plainHost.MatchString(host) {
		host = "localhost:8080"
	}
	return "http://" + host + "/"
}
