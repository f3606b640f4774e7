package workerproc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// lineApp is an app that notes which calls have begun, and whose calls last until a file is there.
const lineApp = `import os, time
from charmer import command

begun = []

@command
def note(n: int, until: str = "") -> int:
    begun.append(n)
    if until:
        print("note", n, flush=True)
    while until and not os.path.exists(until):
        time.sleep(0.001)
    return n

@command
def noted() -> list:
    return begun

@command
def die() -> None:
    os._exit(3)
`

// line is a worker that is sent calls ahead.
type line struct {
	*Worker
	t    testing.TB
	gate string // the file for which the first call waits
}

func newLine(t testing.TB, change func(*Config)) *line {
	t.Helper()
	cfg := pythonConfig(t)
	cfg.CancelGrace = patience
	if err := os.WriteFile(cfg.App, []byte(lineApp), 0o644); err != nil {
		t.Fatal(err)
	}
	change(&cfg)
	w := spawn(t, cfg)
	switch {
	case w.TakesAhead():
	case runtime.GOOS != "linux":
		t.Skip("this system has no pipes with packets")
	default:
		t.Fatal("the worker takes no calls ahead")
	}
	return &line{Worker: w, t: t, gate: filepath.Join(t.TempDir(), "gate")}
}

// open lets the first call go on.
func (l *line) open() {
	l.t.Helper()
	if err := os.WriteFile(l.gate, nil, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// ahead is a call that may be sent ahead. The first one waits for the gate.
func (l *line) ahead(n int) *Call {
	until := ""
	if n == 0 {
		until = l.gate
	}
	c := call("note", fmt.Sprintf(`{"n":%d,"until":%q}`, n, until))
	c.Ahead, c.RequestID = true, fmt.Sprint("r-", n)
	return c
}

// prepare makes a first call, with number 9, after which frames are packets.
func (l *line) prepare() {
	l.t.Helper()
	if _, err := l.Call(context.Background(), l.ahead(9)); err != nil {
		l.t.Fatal(err)
	}
}

// send begins calls with these numbers, one after the other.
func (l *line) send(ctx context.Context, numbers ...int) []<-chan error {
	l.t.Helper()
	var out []<-chan error
	for _, n := range numbers {
		answered := make(chan error, 1)
		go func() { // ends with the call
			_, err := l.Call(ctx, l.ahead(n))
			answered <- err
		}()
		l.await(fmt.Sprintf("call %d is in the pipe", n), func() bool {
			return slices.ContainsFunc(l.openIDs(), func(open *openCall) bool { return open.request.RequestID == fmt.Sprint("r-", n) })
		})
		out = append(out, answered)
	}
	return out
}

// openIDs returns the calls that are open and written.
func (l *line) openIDs() []*openCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*openCall
	for _, open := range l.calls {
		if l.frames.reached(open.end) {
			out = append(out, open)
		}
	}
	return out
}

func (l *line) await(what string, condition func() bool) {
	l.t.Helper()
	eventually(l.t, what, condition)
}

// begins waits until the worker has read the first call.
func (l *line) begins() {
	l.t.Helper()
	l.await("the first call has begun", func() bool { return len(l.output.ring.output()) > 0 })
}

// wantBegun checks which calls Python has begun.
func (l *line) wantBegun(want string) {
	l.t.Helper()
	if got := mustCall(l.t, l.Worker, "noted", "{}"); got != want {
		l.t.Errorf("calls %s have begun, want %s", got, want)
	}
}

func TestCallsSentAheadAreAnsweredInOrder(t *testing.T) {
	l := newLine(t, unchanged)
	calls := l.send(context.Background(), 0, 1, 2, 3, 4)
	l.open()
	for n, answered := range calls {
		if err := receive(t, answered, "an answer"); err != nil {
			t.Errorf("call %d: %v", n, err)
		}
	}
	l.wantBegun("[0,1,2,3,4]")
}

func TestWhatIsWithdrawnHasNotBegun(t *testing.T) {
	l := newLine(t, unchanged)
	calls := l.send(context.Background(), 0, 1, 2, 3)
	l.begins()
	l.Withdraw()
	for n, answered := range calls[1:] {
		if err := receive(t, answered, "an answer"); err != ErrWithdrawn {
			t.Errorf("call %d: %v, want it withdrawn", n+1, err)
		}
	}
	l.Withdraw() // there is nothing more
	more := l.send(context.Background(), 4)
	l.open()
	if err := errors.Join(receive(t, calls[0], "the first answer"), receive(t, more[0], "the last")); err != nil {
		t.Error(err)
	}
	l.wantBegun("[0,4]")
}

// TestTheCallWhoseTurnItIsIsNotWithdrawn though the worker has not read it: it may be hanging.
func TestTheCallWhoseTurnItIsIsNotWithdrawn(t *testing.T) {
	l := newLine(t, unchanged)
	l.prepare()
	stopWorker(l.t, l.Worker)
	l.open()
	calls := l.send(context.Background(), 0, 1, 2)
	l.Withdraw()
	for _, answered := range calls[1:] {
		if err := receive(t, answered, "an answer"); err != ErrWithdrawn {
			t.Errorf("%v, want it withdrawn", err)
		}
	}
	more := l.send(context.Background(), 3)
	signalWorker(l.t, l.Worker, syscall.SIGCONT)
	if err := errors.Join(receive(t, calls[0], "the first answer"), receive(t, more[0], "the last")); err != nil {
		t.Error(err)
	}
	l.wantBegun("[9,0,3]")
}

func TestACallInLineIsEndedWithoutTheOthers(t *testing.T) {
	l := newLine(t, unchanged)
	first := l.send(context.Background(), 0)
	l.begins()
	ctx, leave := context.WithCancel(context.Background())
	left := l.send(ctx, 1)
	others := l.send(context.Background(), 2, 3)
	leave()
	for _, answered := range append(left, others...) { // who then try again
		if err := receive(t, answered, "an answer"); err != ErrWithdrawn {
			t.Errorf("%v, want it withdrawn", err)
		}
	}
	l.open()
	if err := receive(t, first[0], "the first answer"); err != nil {
		t.Errorf("the call that ran: %v", err)
	}
	l.wantBegun("[0]")
}

func TestTheEndOfTheCallThatRunsLeavesTheLineAlone(t *testing.T) {
	l := newLine(t, unchanged)
	ctx, leave := context.WithCancel(context.Background())
	first := l.send(ctx, 0)
	l.begins()
	behind := l.send(context.Background(), 1)
	leave()
	var cancelled *CancelledError
	if err := receive(t, first[0], "the first answer"); !errors.As(err, &cancelled) || cancelled.Step != StepCancelled {
		t.Errorf("the call that ran: %v", err)
	}
	if err := receive(t, behind[0], "the answer behind"); err != ErrWithdrawn {
		t.Errorf("the call behind: %v", err)
	}
	l.wantBegun("[0]")
}

func TestADeathTellsWhichCallsHadBegun(t *testing.T) {
	for _, read := range []bool{true, false} {
		t.Run(fmt.Sprint("the first is read: ", read), func(t *testing.T) {
			l := newLine(t, unchanged)
			if !read {
				l.prepare()
				stopWorker(l.t, l.Worker)
			}
			calls := l.send(context.Background(), 0, 1, 2)
			if read {
				l.begins()
			}
			l.Kill()
			crash := wantCrash(t, receive(t, calls[0], "the first answer"), read)
			if crash.Exit.Cause != CauseKilled {
				t.Errorf("exit = %+v", crash.Exit)
			}
			for _, answered := range calls[1:] {
				if err := receive(t, answered, "an answer"); err != ErrWithdrawn {
					t.Errorf("a call behind: %v", err)
				}
			}
		})
	}
}

// TestEveryCallBeginsOnceHoweverOftenItIsWithdrawn sends calls from many sides, again when they are withdrawn, while somebody
// withdraws and others leave.
func TestEveryCallBeginsOnceHoweverOftenItIsWithdrawn(t *testing.T) {
	l := newLine(t, unchanged)
	const callers, each = 6, 200
	done := make(chan struct{})
	var meddler, all sync.WaitGroup
	meddler.Go(func() { // ends with the calls
		for tick := time.NewTicker(200 * time.Microsecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				l.Withdraw()
			}
		}
	})
	withdrawn := 0
	var mu sync.Mutex
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				n := 1 + caller*each + i
				err := ErrWithdrawn
				for err == ErrWithdrawn {
					var reply Reply
					if reply, err = l.Call(context.Background(), l.ahead(n)); err == nil && string(reply.Result) != fmt.Sprint(n) {
						err = fmt.Errorf("the answer is %s", reply.Result)
					}
					if err == ErrWithdrawn {
						mu.Lock()
						withdrawn++
						mu.Unlock()
					}
				}
				if err != nil {
					t.Errorf("call %d: %v", n, err)
				}
			}
		})
	}
	all.Wait()
	close(done)
	meddler.Wait()
	t.Logf("%d calls were withdrawn", withdrawn)
	var numbers []int
	if err := json.Unmarshal([]byte(mustCall(t, l.Worker, "noted", "{}")), &numbers); err != nil {
		t.Fatal(err)
	}
	slices.Sort(numbers)
	if len(numbers) != callers*each || len(slices.Compact(numbers)) != callers*each {
		t.Errorf("%d calls began, %d were made", len(numbers), callers*each)
	}
}
