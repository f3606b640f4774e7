package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml"
)

// documents are the texts for users and operators.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, root := range []string{"README.md", "docs", "deploy", "examples", "Dockerfile", "docker-compose.yml"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && slices.Contains([]string{".venv", "bookshop", "build", "node_modules", "target"}, entry.Name()) {
				return fs.SkipDir // which examples/clients makes
			}
			if err != nil || entry.IsDir() || slices.Contains([]string{".csv", ".pyc", ".py", ".txt"}, filepath.Ext(path)) {
				return err
			}
			text, err := os.ReadFile(path)
			texts[path] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

func TestDocumentsNameOnlyWhatThereIs(t *testing.T) {
	inOneRun(t)
	parser, err := kong.New(&cli{}, kong.DefaultEnvars("CHARMER"))
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{"--help"}
	variables := []string{
		"CHARMER_WORKER_APP", "CHARMER_WORKER_ID", "CHARMER_WORKER_MAX_FRAME", "CHARMER_WORKER_START_METHOD", "CHARMER_WORKER_LIMITS", "CHARMER_WORKER_CONCURRENCY", // docs/protocol.md
		"CHARMER_IMAGE", "CHARMER_NAME", "CHARMER_PUBLISH", // of the scripts in deploy and the compose file
	}
	for _, flag := range serviceFlags(parser.Model) {
		flags = append(flags, "--"+flag.Name)
		variables = append(variables, flag.Envs...)
	}
	for _, command := range parser.Model.Children { // those of its own
		for _, flag := range command.Flags {
			flags = append(flags, "--"+flag.Name)
		}
	}
	metrics := servePatiently(t, "").scrape()
	for path, text := range documents(t) {
		for _, name := range regexp.MustCompile(`CHARMER_[A-Z][A-Z_]*[A-Z]`).FindAllString(text, -1) {
			if !slices.Contains(variables, name) {
				t.Errorf("%s names the variable %s, which there is not", path, name)
			}
		}
		for _, name := range regexp.MustCompile(`\bcharmer_[a-z_]+[a-z]`).FindAllString(text, -1) {
			if metrics[name] == nil && metrics[strings.TrimSuffix(name, "_bucket")] == nil {
				t.Errorf("%s names the metric %s, which there is not", path, name)
			}
		}
		if path == "README.md" || strings.HasPrefix(path, "docs") {
			for _, name := range regexp.MustCompile(`--[a-z][a-z-]*[a-z]`).FindAllString(text, -1) {
				if !slices.Contains(flags, name) {
					t.Errorf("%s names the flag %s, which there is not", path, name)
				}
			}
		}
		if filepath.Ext(path) == ".md" {
			for _, link := range regexp.MustCompile(`\]\(([^)#:]+)[)#]`).FindAllStringSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(path), link[1])); err != nil {
					t.Errorf("%s links to nothing: %v", path, err)
				}
			}
		}
	}
}

func TestTheMessagesInTheProtocolAreJSON(t *testing.T) {
	inOneRun(t)
	seen := map[string]bool{}
	for _, block := range snippets(t, "docs/protocol.md") {
		// A message goes on in the lines that are indented.
		for _, message := range regexp.MustCompile(`(?m)^([A-Z]+) +(\{.*(?:\n .*)*)$`).FindAllStringSubmatch(block.text, -1) {
			seen[message[1]] = true
			if text := jsontext.Value(message[2]); !text.IsValid() {
				t.Errorf("docs/protocol.md:%d: %s is not JSON: %s", block.line, message[1], message[2])
			}
		}
	}
	for _, kind := range []string{"HELLO", "PROGRESS", "READY", "CALL", "ERROR", "LOG"} {
		if !seen[kind] {
			t.Errorf("no message %s", kind)
		}
	}
}

func TestVersionsAgree(t *testing.T) {
	inOneRun(t)
	var document struct{ Info struct{ Version string } }
	if err := yaml.Unmarshal(contract, &document); err != nil {
		t.Fatal(err)
	}
	python, err := os.ReadFile("workerproc/python/charmer/_version.py")
	if err != nil {
		t.Fatal(err)
	}
	if document.Info.Version != version || !strings.Contains(string(python), `"`+version+`"`) {
		t.Errorf("the program is %s, the contract %s, the Python runtime %s", version, document.Info.Version, python)
	}
}

// TestTheReadmeListsTheExitCodes compares the table with the constants in main.go.
func TestTheReadmeListsTheExitCodes(t *testing.T) {
	inOneRun(t)
	texts := documents(t)
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	var defined, listed []string
	for _, m := range regexp.MustCompile(`(?m)^\texit[A-Z]\w+\s+= (\d)`).FindAllStringSubmatch(string(source), -1) {
		defined = append(defined, m[1])
	}
	_, table, _ := strings.Cut(texts["README.md"], "| exit code |")
	for _, m := range regexp.MustCompile(`(?m)^\| (\d) \|`).FindAllStringSubmatch(table, -1) {
		listed = append(listed, m[1])
	}
	if len(defined) == 0 || !slices.Equal(defined, listed) {
		t.Errorf("main.go has %q, README.md %q", defined, listed)
	}
}

// TestTheReadmeListsWhatPythonOffers asks a worker for the names in the table.
func TestTheReadmeListsWhatPythonOffers(t *testing.T) {
	inOneRun(t)
	_, section, _ := strings.Cut(documents(t)["README.md"], "## In Python")
	section, _, _ = strings.Cut(section, "\n## ")
	s := servePatiently(t, `
import charmer, re
from charmer import command

@command
def missing(section: str) -> list:
    rows = [line for line in section.splitlines() if line.startswith("| `+"`"+`")]
    wrong = []
    for row in rows:
        left, right = row.strip("| ").split(" | ", 1)
        for name in re.findall(r"`+"`@?(\\w+)"+`", left):
            if not hasattr(charmer, name):
                wrong.append(name)
        if "current()" in left:
            wrong += [name for name in re.findall(r"`+"`(\\w+)"+`", right) if not hasattr(charmer.current(), name)]
    return wrong + [name for name in charmer.__all__ if not name.startswith("_") and name not in ("Call", "Shield") and name not in section] + ([] if rows else ["rows"])
`)
	text, err := jsontext.AppendQuote(nil, section)
	if err != nil {
		t.Fatal(err)
	}
	s.execute("missing", `{"section":`+string(text)+`}`).wantResult(t, "[]")
}
