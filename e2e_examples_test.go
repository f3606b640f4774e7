package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/api/client"
)

// snippet is one fenced block of a Markdown file, with the prose up to the next.
type snippet struct {
	line                  int
	language, text, prose string
}

// snippets returns the fenced blocks of a file.
func snippets(t *testing.T, path string) (found []snippet) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for n, line := range strings.Split(string(text), "\n") {
		language, fence := strings.CutPrefix(line, "```")
		switch last := len(found) - 1; {
		case fence && !inside:
			found = append(found, snippet{line: n + 1, language: language})
			inside = true
		case fence:
			inside = false
		case inside:
			found[last].text += line + "\n"
		case last >= 0:
			found[last].prose += line + "\n"
		}
	}
	if inside || len(found) == 0 {
		t.Fatalf("%s: %d blocks, the last one open: %v", path, len(found), inside)
	}
	return found
}

// curl sends what a curl command line of a README sends, to this service. The shell takes the words apart.
func (s *instance) curl(t *testing.T, command string) rawReply {
	t.Helper()
	out, err := exec.Command("sh", "-ec", `curl() { printf '%s\0' "$@"; }`+"\n"+command).Output()
	if err != nil {
		t.Fatalf("%v in %s", err, command)
	}
	method, path, body := "", "", ""
	var header []string
	words := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i < len(words); i++ {
		option := words[i]
		if option == "-X" || option == "-H" || option == "-d" {
			i++
		}
		switch value := words[i]; option {
		case "-s", "-sN":
		case "-X":
			method = value
		case "-H":
			name, text, _ := strings.Cut(value, ": ")
			header = append(header, name, text)
		case "-d":
			body = value
		default:
			_, path, _ = strings.Cut(value, "localhost:8080")
		}
	}
	if method == "" {
		method = map[bool]string{true: http.MethodGet, false: http.MethodPost}[body == ""]
	}
	if path == "" {
		t.Fatalf("no URL in %q", words)
	}
	return s.raw(method, path, body, header...)
}

// compact is JSON text without white space; numbers and the order of members stay.
func compact(t *testing.T, text string) string {
	t.Helper()
	value := jsontext.Value(text)
	if err := value.Compact(); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return string(value)
}

var (
	serveLine = regexp.MustCompile(`(?m)^(?:\./)?charmer serve (?:--\S+ )*(\S+)$`)
	refusal   = regexp.MustCompile("is answered (\\d+) with `\"code\": \"(\\w+)\"`")
)

// TestExamplesAnswerAsTheirReadmesSay serves each example by the command in its README.md and runs the curl lines there, in
// order. Below each stands the result, or a sentence with status and code.
func TestExamplesAnswerAsTheirReadmesSay(t *testing.T) {
	paths, err := filepath.Glob("examples/*/README.md")
	if err != nil || len(paths) < 3 {
		t.Fatalf("examples %q, %v", paths, err)
	}
	for _, path := range paths {
		if filepath.Dir(path) == starterDir {
			continue // `charmer init` writes it, and its own test tries that
		}
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { answersAsItsReadmeSays(t, path) })
	}
}

// answersAsItsReadmeSays is for one README.md. An app that it names without a directory lies beside it.
func answersAsItsReadmeSays(t *testing.T, path string) {
	t.Helper()
	blocks := snippets(t, path)
	command := serveLine.FindStringSubmatch(blocks[0].text)
	if command == nil {
		t.Fatalf("%s does not begin with charmer serve: %s", path, blocks[0].text)
	}
	app := command[1]
	if filepath.Base(app) == app {
		app = filepath.Join(filepath.Dir(path), app)
	}
	s := servePatiently(t, app)
	calls := 0
	for i, block := range blocks {
		if !strings.HasPrefix(block.text, "curl ") {
			continue
		}
		calls++
		r := s.curl(t, block.text)
		place := fmt.Sprintf("%s:%d", path, block.line)
		if i+1 < len(blocks) && blocks[i+1].language == "json" {
			checkResult(t, place, r, blocks[i+1].text)
		} else if want := refusal.FindStringSubmatch(block.prose); want == nil {
			t.Errorf("%s: nothing says what the answer is", place)
		} else if strconv.Itoa(r.status) != want[1] || r.problem.Code != want[2] {
			t.Errorf("%s: answered %d %s, the README says %s %s", place, r.status, r.problem.Code, want[1], want[2])
		}
	}
	if calls == 0 {
		t.Error("no curl line")
	}
}

func checkResult(t *testing.T, place string, r rawReply, want string) {
	t.Helper()
	var reply client.ExecuteReply
	if err := json.Unmarshal(r.body, &reply); err != nil || r.status != http.StatusOK {
		t.Errorf("%s: %d %s", place, r.status, r.body)
		return
	}
	if got, want := compact(t, string(reply.Result)), compact(t, want); got != want {
		t.Errorf("%s: the result is\n%s\nthe README says\n%s", place, got, want)
	}
}

// TestExamplesRefuseAsTheirReadmesSay makes the calls of the tables and sentences that show no curl line.
func TestExamplesRefuseAsTheirReadmesSay(t *testing.T) {
	for _, example := range []struct {
		app   string
		calls []struct{ command, args, code string }
	}{
		{"examples/table/app.py", []struct{ command, args, code string }{
			{"columns", `{}`, "409 not_loaded"},
			{"load", `{"path":"no.csv"}`, "404 no_such_file"},
			{"load", `{"path":"../app.py"}`, "404 no_such_file"},
			{"load", `{"path":"/etc/passwd"}`, "404 no_such_file"},
			{"load", `{}`, ""},
			{"sum", `{"column":"moon"}`, "404 no_such_column"},
			{"sum", `{"column":"city"}`, "400 wrong_type"},
			{"filter", `{"column":"month","op":"==","value":"May"}`, "400 wrong_type"},
			{"filter", `{"column":"month","op":"~","value":5}`, "400 no_such_operator"},
			{"filter", `{"column":"month","op":"==","value":5,"limit":-1}`, "400 out_of_range"},
			{"group", `{"by":"month","column":"latitude","how":"median"}`, "400 no_such_aggregate"},
			{"top", `{"column":"month","n":-1}`, "400 out_of_range"},
		}},
		{"examples/wordstats/app.py", []struct{ command, args, code string }{
			{"top", `{"length":0}`, "400 out_of_range"},
			{"compare", `{"a":"..."}`, "400 no_words"},
		}},
	} {
		s := servePatiently(t, example.app)
		text, err := os.ReadFile(filepath.Join(filepath.Dir(example.app), "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range example.calls {
			a := s.execute(call.command, call.args, inSession("u1"))
			if got := strings.TrimSpace(fmt.Sprintf("%d %s", a.Problem.Status, a.Problem.Code)); call.code != "" && got != call.code || call.code == "" && a.status != 200 {
				t.Errorf("%s %s %s: %d %q, want %q", example.app, call.command, call.args, a.status, got, call.code)
			}
			if !bytes.Contains(text, []byte("`"+a.Problem.Code+"`")) && !bytes.Contains(text, []byte(`"`+a.Problem.Code+`"`)) {
				t.Errorf("the README of %s does not know %s", example.app, a.Problem.Code)
			}
		}
	}
}

// changing are the parts of a reply that differ from run to run.
var changing = regexp.MustCompile(`("request_id":)"[^"]*"|("(?:id|pid)":)\d+|("[a-z]+_ms":)[0-9.]+`)

func TestTheReadmeAnswersAsPrinted(t *testing.T) {
	s := servePatiently(t, "")
	blocks := snippets(t, "README.md")
	calls := 0
	for i, block := range blocks {
		if !strings.HasPrefix(block.text, "curl ") {
			continue
		}
		calls++
		r := s.curl(t, block.text)
		printed := blocks[i+1].text
		if strings.Count(printed, "\n") == 1 { // else a stream, an event a line
			printed = compact(t, printed)
		}
		got, want := changing.ReplaceAllString(string(r.body), "$1$2$3"), changing.ReplaceAllString(printed, "$1$2$3")
		if r.status != http.StatusOK || got != want {
			t.Errorf("README.md:%d: answered %d\n%s\nwant\n%s", block.line, r.status, got, want)
		}
	}
	if calls < 2 {
		t.Errorf("%d curl lines", calls)
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl here")
	}
	for _, block := range blocks {
		if command, rest, _ := strings.Cut(block.text, " "); command == "curl" && strings.Contains(rest, "greet") {
			line := curl + " -sS " + strings.Replace(rest, "localhost:8080", s.url, 1)
			out, err := exec.Command("sh", "-ec", line).CombinedOutput()
			if err != nil || !bytes.HasPrefix(bytes.TrimPrefix(out, []byte(`{"result":`)), []byte(`"hello Ada"`)) {
				t.Errorf("%s\n%v: %s", line, err, out)
			}
		}
	}
}

// TestTheFirstAppOfTheReadmeRuns serves the Python at its top, with the curl lines for it in README.md and in the help.
func TestTheFirstAppOfTheReadmeRuns(t *testing.T) {
	blocks := snippets(t, "README.md")
	if blocks[0].language != "python" {
		t.Fatalf("the first block is %s", blocks[0].language)
	}
	s := servePatiently(t, blocks[0].text)
	s.execute("greet", `{"name":"Ada","excited":true}`).wantResult(t, `"hello Ada!"`)
	help, _, _ := charmer(t, nil, "--help")
	line := regexp.MustCompile(`curl .*`).FindString(help)
	if r := s.curl(t, line); r.status != http.StatusOK || !bytes.Contains(r.body, []byte(`"hello Ada"`)) {
		t.Errorf("%s: %d %s", line, r.status, r.body)
	}
}
