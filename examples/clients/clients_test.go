// Package clients tests the clients of this folder: it serves app.py and runs what README.md says.
package clients

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience bounds each step, downloads among them. It is no measure of speed.
const patience = 10 * time.Minute

// languages are the sections of README.md.
var languages = []struct {
	name  string
	needs []tool
	sees  []string // what the program prints beside what all do
}{
	{name: "Go", needs: []tool{{"go", "go version"}}},
	{name: "TypeScript", needs: []tool{
		{"Node.js 18 or newer", `node -e 'process.exit(process.versions.node.split(".")[0] < 18 ? 1 : 0)'`}, {"npm", "npm --version"},
	}, sees: []string{"stop: warehouse after 0 h\n", "stop: door after 2 h\n"}},
	{name: "Python", needs: []tool{{"Python 3.11 or newer, with venv", `python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'`}}},
	{name: "Java", needs: []tool{{"a JDK, 17 or newer", "javac --release 17 -version"}, {"Maven", "mvn --version"}}},
}

// tool is a program that is needed, and a command that fails without it.
type tool struct{ name, probe string }

// steps are the lines that each program prints.
var steps = []string{
	"greet: hello Ada\n", "parcels: 2 of Emma by express for 2026-02-01", "refused: 400 invalid_args, /order/lines/0/copies ",
	"raised: 422 sold_out, there are 0 of Ulysses\n", "basket: Emma, Walden\n", "new basket: Ulysses\n", "too slow: 504 execution_timeout, started: ",
	"busy: refused: ", ", then hello Bob\n",
}

func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("generates and builds clients, and downloads what that takes")
	}
	haveResultsGoStale(t)
	scripts := sections(t, "README.md")
	charmer := build(t)
	for _, language := range languages {
		t.Run(language.name, func(t *testing.T) {
			t.Parallel() // they wait for downloads, most of the first time
			require(t, append(language.needs, tool{"curl", "curl --version"}))
			address := serve(t, charmer)
			script := strings.ReplaceAll(scripts[language.name], "localhost:8080", address)
			if strings.Count(script, address) != 2 {
				t.Fatalf("README.md fetches no document for %s, or calls no service:\n%s", language.name, script)
			}
			printed, err := run(t, script)
			if err != nil {
				t.Fatalf("%v\n%s", err, printed)
			}
			for _, line := range append(steps, language.sees...) {
				if !strings.Contains(printed, line) {
					t.Errorf("it has not printed %q", line)
				}
			}
			t.Logf("%s", printed)
		})
	}
}

// haveResultsGoStale reads the folders of charmer, so that go test does not take an old result for one of other code.
func haveResultsGoStale(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && slices.Contains([]string{".git", ".venv", "bench", "bookshop", "build", "node_modules", "target"}, entry.Name()) {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sections returns the first shell script of each section of a Markdown file, by title.
func sections(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, part := range strings.Split(string(text), "\n## ")[1:] {
		title, body, _ := strings.Cut(part, "\n")
		_, script, _ := strings.Cut(body, "```sh\n")
		found[title], _, _ = strings.Cut(script, "```")
	}
	return found
}

// TestTheSnippetsOfTheReadmeAreInThePrograms compares the blocks of a section of charmer's README.md, paragraph by paragraph and but for
// the indent, with what TestClients has run. There the address is in a variable.
func TestTheSnippetsOfTheReadmeAreInThePrograms(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), "\n## Call it from your language\n")
	part, _, _ = strings.Cut(part, "\n## ")
	for language, path := range map[string]string{"go": "go/main.go", "ts": "typescript/main.ts", "python": "python/main.py", "java": "java/src/main/java/example/Main.java"} {
		program, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, snippet, found := strings.Cut(part, "\n```"+language+"\n")
		snippet, _, _ = strings.Cut(snippet, "\n```")
		if !found || !strings.Contains(snippet, `"http://localhost:8080"`) {
			t.Errorf("no block of %s, or none with an address", language)
		}
		snippet = strings.ReplaceAll(snippet, `"http://localhost:8080"`, "url")
		for paragraph := range strings.SplitSeq(snippet, "\n\n") {
			if !strings.Contains(flat(string(program)), flat(paragraph)) {
				t.Errorf("%s does not have\n%s", path, paragraph)
			}
		}
	}
}

// flat is text without indents and ends of lines.
func flat(text string) string {
	return strings.Join(strings.Fields(text), " ")
}

// require skips the test if a tool is not there. In continuous integration that is a failure.
func require(t *testing.T, tools []tool) {
	t.Helper()
	for _, tool := range tools {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", tool.probe).CombinedOutput()
		switch {
		case err == nil:
		case os.Getenv("CI") == "true":
			t.Fatalf("needs %s: %v\n%s", tool.name, err, out)
		default:
			t.Skipf("needs %s", tool.name)
		}
	}
}

// run has a shell in the folder of charmer run lines until one fails, and returns what they print.
func run(t *testing.T, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-ex")
	cmd.Dir = "../.."
	cmd.Stdin = strings.NewReader(script)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
