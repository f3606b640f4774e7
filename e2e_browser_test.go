package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is a tab of a browser without a window. It keeps what the pages in it did that they should not.
type tab struct {
	context.Context
	mu     sync.Mutex // guards the field below
	faults []string
}

// openTab starts a browser for pages of s, which may talk to nobody else. It skips the test where there is no Chromium.
func openTab(t *testing.T, s *instance) *tab {
	t.Helper()
	program := ""
	for _, name := range []string{"google-chrome", "chromium-browser", "chromium"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
		}
	}
	if program == "" {
		t.Skip("needs chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	// Chromium cannot have its sandbox as root.
	ctx, end := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox)...)
	t.Cleanup(end)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	b := &tab{Context: ctx}
	if err := chromedp.Listen(ctx, func(event any) { b.note(faultOf(event, s.url)) }); err != nil {
		t.Fatal(err)
	}
	b.do(t, enable(network.Enable, network.EnableParams{}), enable(log.Enable, cdp.Empty{}), enable(runtime.Enable, cdp.Empty{}),
		enable(audits.Enable, cdp.Empty{}))
	return b
}

// enable has the browser tell about something.
func enable[P any](command cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, command, params)
		return err
	})
}

// faultOf says what is wrong with what a page of the service did, or nothing.
func faultOf(event any, service string) string {
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, service+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			return "a request to " + e.Request.URL
		}
	case *network.EventLoadingFailed:
		return "a request failed: " + e.ErrorText + " " + string(e.BlockedReason)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			return "the browser says: " + e.Entry.Text + " " + e.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		return "an exception: " + e.ExceptionDetails.Text
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
			return "something against the page's Content-Security-Policy"
		}
	}
	return ""
}

func (b *tab) note(fault string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if fault != "" {
		b.faults = append(b.faults, fault)
	}
}

// seen returns the faults so far.
func (b *tab) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.faults)
}

// wantNoFaults fails the test if a page did what it should not.
func (b *tab) wantNoFaults(t *testing.T) {
	t.Helper()
	if faults := b.seen(); len(faults) > 0 {
		t.Errorf("%q", faults)
	}
}

// do runs actions, each of which waits for what it needs.
func (b *tab) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b, actions...); err != nil {
		t.Fatalf("browser: %v; %q", err, b.seen())
	}
}

// get runs an action that tells something.
func get[T any](t *testing.T, b *tab, action chromedp.Action[T]) T {
	t.Helper()
	got, err := chromedp.Run(b, action)
	if err != nil {
		t.Fatalf("browser: %v", err)
	}
	return got
}

func TestAPersonTriesAnOperationInTheBrowser(t *testing.T) {
	inOneRun(t)
	s := servePatiently(t, "")
	b := openTab(t, s)
	const (
		execute = "#operations-calls-execute "
		body    = chromedp.CSS(execute + ".body-param textarea")
		reply   = execute + ".live-responses-table .response "
	)
	b.do(t,
		chromedp.Navigate(s.url+"/docs"),
		chromedp.Click(chromedp.CSS(execute+".opblock-summary-control")),
		chromedp.WaitVisible(body),
	)
	operations := get(t, b, chromedp.Evaluate[int](`document.querySelectorAll(".opblock").length`))
	if want := len(s.Operations()); operations < want {
		t.Errorf("%d operations are shown, want %d", operations, want)
	}
	b.do(t, chromedp.Click(body))
	// What is typed takes the place of the example.
	if !get(t, b, chromedp.Evaluate[bool](`document.activeElement.select(), document.execCommand("insertText", false,
		'{"command":"greet","args":{"name":"Grace"}}')`)) {
		t.Error("the text could not be typed")
	}
	b.do(t,
		chromedp.Click(chromedp.CSS(execute+"button.execute")),
		chromedp.WaitVisible(chromedp.CSS(reply+".highlight-code")),
	)
	sent := get(t, b, chromedp.Text(chromedp.CSS(execute+".request-url")))
	status := get(t, b, chromedp.Text(chromedp.CSS(reply+".response-col_status")))
	answer := get(t, b, chromedp.Text(chromedp.CSS(reply+".highlight-code")))
	if !strings.Contains(sent, s.url+"/execute") || !strings.Contains(status, "200") || !strings.Contains(answer, "hello Grace") {
		t.Errorf("sent to %q: %q %q", sent, status, answer)
	}
	b.wantNoFaults(t)
	// Other hosts are out of reach, and the test would see it.
	get(t, b, chromedp.Evaluate[bool](`fetch("http://other.example/").then(() => true, () => false)`, chromedp.EvalAwaitPromise))
	if len(b.seen()) == 0 {
		t.Error("a request to another host was not seen")
	}
}

func TestAPersonFindsTheCommandsInTheBrowser(t *testing.T) {
	inOneRun(t)
	s := servePatiently(t, `
from charmer import command

@command
def greet(name: str) -> str:
    """Greet <b onclick="x">somebody</b>.

    </p><script>document.title = "taken over"</script><img src="http://other.example/x" onerror="document.title = 'taken over'">
    """
    return "hello " + name
`)
	b := openTab(t, s)
	b.do(t, chromedp.Navigate(s.url+"/"), chromedp.WaitVisible(chromedp.CSS("article .line button"))) // the script shows the button
	for _, tt := range []struct{ what, want string }{
		{"document.title", "charmer: ready"},
		{`document.querySelector(".state b").textContent`, "ready"},
		{`document.querySelector("article .doc").textContent`, `Greet <b onclick="x">somebody</b>.`},
		{`getComputedStyle(document.querySelector("article")).borderStyle`, "solid"}, // the style is in force
		{`document.querySelector(".line code").textContent`,
			`curl '` + s.url + `/commands/greet' -H 'Content-Type: application/json' -d '{"name":"text"}'`},
	} {
		if got := get(t, b, chromedp.Evaluate[string](tt.what)); got != tt.want {
			t.Errorf("%s is %q, want %q", tt.what, got, tt.want)
		}
	}
	line := get(t, b, chromedp.Evaluate[string](`document.querySelector(".line code").textContent`))
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line+" -sS").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"hello text"`) {
		t.Errorf("in a shell: %v, %s", err, out)
	}
	b.wantNoFaults(t)
}
