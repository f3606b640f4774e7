package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"charmer/api/client"
)

// oddApp has something to complain about in each command but the last.
const oddApp = `
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional

from charmer import command

class Engine:
    pass

@dataclass
class Part:
    name: str
    engine: Engine
    size: Optional[int] = None

@command
def tune(part: Part, level, how: "Missing" = 3, **rest) -> Engine:
    """Tune \x1b[31m it\u202e."""

@command(name="shop.price")
def price(x: int = 3) -> int:
    return x

@command
def price_of(x: int = 3) -> int:
    return x

@command
def priceOf() -> Iterator:
    yield 1

@command(batch=True)
def together(calls: List[Dict[str, Any]]) -> List[int]:
    return [1 for _ in calls]

@command
def fine(value: object, more: Any = "\x9b2J", **rest: Any) -> Iterator[List[Part]]:
    yield [value]
`

// check runs charmer check with patience.
func check(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return charmer(t, nil, append([]string{"check", "--start-timeout=5m", "--stop-grace=1m"}, args...)...)
}

func TestCheckShowsCommandsAndComplains(t *testing.T) {
	inOneRun(t)
	app := appFile(t, oddApp)
	stdout, stderr, code := check(t, app)
	wantCode(t, []string{"check"}, stderr, code, exitOK)
	want := `tune  Tune \x1b[31m it\u202e.
    parameter  type             required  default
    part       Part             yes
    level      anything         yes
    how        anything         no        3
    **rest     anything         no
  Part
    name       string           yes
    engine     anything         yes
    size       integer or null  no        null
  returns anything

shop.price
    parameter  type     required  default
    x          integer  no        3
  returns integer
`
	if !strings.HasPrefix(stdout, want) {
		t.Errorf("check prints\n%s\nwant\n%s", stdout, want)
	}
	_, told, _ := strings.Cut(stdout, "  yields array of Part\n\n")
	want = `warning: tune, parameter part: the type app.Engine has no form in JSON: it takes anything, and gets the JSON that it is
warning: tune, parameter how: the type Missing cannot be described: NameError: name 'Missing' is not defined
warning: tune: the type app.Engine of the result has no form in JSON
note: tune, parameter level: no type hint: it takes anything
note: tune, parameter rest: no type hint: it takes anything
warning: shop.price: a client can have no method of this name: it has more in it than the letters a to z, digits and _
warning: priceOf: a client that writes names its own way (priceof) cannot tell it from price_of
warning: priceOf: the type typing.Iterator cannot be described: it does not say of what it is a list or an iterator
warning: fine: the type app.Engine of the result has no form in JSON
6 commands, 7 warnings, 2 notes
`
	if told != want {
		t.Errorf("check complains\n%s\nwant\n%s", told, want)
	}
	_, _, code = check(t, "--strict", app)
	if code != exitFailed {
		t.Errorf("exit code %d with --strict, want %d", code, exitFailed)
	}
}

func TestCheckPrintsJSON(t *testing.T) {
	inOneRun(t)
	stdout, stderr, code := check(t, "--json", "--strict", appFile(t, oddApp))
	wantCode(t, []string{"check"}, stderr, code, exitFailed)
	if i := strings.IndexFunc(stdout, func(r rune) bool { return r != '\n' && visible(string(r)) != string(r) }); i >= 0 {
		t.Errorf("there is %q in it", stdout[i:min(len(stdout), i+8)])
	}
	var got struct {
		App        string
		Commands   []client.Command
		Complaints []complaint
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(got.App, "app.py") || len(got.Commands) != 6 || len(got.Complaints) != 9 {
		t.Fatalf("%s has %d commands and %d complaints:\n%s", got.App, len(got.Commands), len(got.Complaints), stdout)
	}
	want := complaint{Level: levelNote, Command: "tune", Parameter: "level", Detail: "no type hint: it takes anything"}
	if !slices.Contains(got.Complaints, want) {
		t.Errorf("no %+v in %+v", want, got.Complaints)
	}
	s := servePatiently(t, oddApp, "--workers=1")
	r, err := s.ListCommandsWithResponse(t.Context())
	if err != nil || r.JSON200 == nil || len(r.JSON200.Commands) != len(got.Commands) {
		t.Fatalf("commands: %v", err)
	}
	for _, served := range r.JSON200.Commands {
		i := slices.IndexFunc(got.Commands, func(c client.Command) bool { return c.Name == served.Name })
		if i < 0 {
			t.Fatalf("no %s in %s", served.Name, stdout)
		}
		text, err := json.Marshal(got.Commands[i])
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(served)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, text, string(want))
	}
}

func TestCheckSaysWhyAnAppCannotBeImported(t *testing.T) {
	inOneRun(t)
	app := appFile(t, "import charmer\n@charmer.command\ndef a() -> None: pass\n@charmer.command(name='a')\ndef b() -> None: pass\n")
	stdout, stderr, code := check(t, app)
	wantCode(t, []string{"check"}, stderr, code, exitApp, app+" does not start (import ", "'a' is registered twice", "Traceback (most recent call last)")
	if stdout != "" {
		t.Errorf("it prints %s", stdout)
	}
	app = appFile(t, "print('\\x1b]0;title\\x07')\nraise ValueError('\\x1b[2J')\n")
	for _, command := range []string{"check", "doctor"} {
		_, stderr, _ = charmer(t, nil, command, "--start-timeout=5m", app)
		if !strings.Contains(stderr, `ValueError: \x1b[2J`) || strings.ContainsAny(stderr, "\x1b\x07") {
			t.Errorf("%s lets a terminal be written to: %q", command, stderr)
		}
	}
	_, stderr, code = check(t, "nowhere.py")
	wantCode(t, []string{"check"}, stderr, code, exitApp, "nowhere.py")
	_, stderr, code = charmer(t, nil, "check", "--python=nowhere", appFile(t, "import charmer\n"))
	wantCode(t, []string{"check"}, stderr, code, exitApp, "nowhere")
}

func TestCheckTakesLimitsAndForeignWorkers(t *testing.T) {
	inOneRun(t)
	_, stderr, code := check(t, "--limit-files=64", appFile(t, `
import resource
import charmer

@charmer.on_start
def start() -> None:
    raise ValueError(f"{resource.getrlimit(resource.RLIMIT_NOFILE)[0]} files")

@charmer.command
def ping() -> None:
    pass
`))
	wantCode(t, []string{"check"}, stderr, code, exitApp, "ValueError: 64 files", "Traceback (most recent call last)")
	stdout, stderr, code := check(t, "--worker-command=python3 "+scriptFile(t, "worker.py", oddWorker))
	wantCode(t, []string{"check"}, stderr, code, exitOK)
	if !strings.Contains(stdout, "returns anything\n") {
		t.Error(stdout)
	}
}
