package poolsvc

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/workerproc"
)

// fakeWorker is a worker in memory. It offers these commands: echo returns its args, sleep takes the time that its args
// name, and so do defy, which no cancel ends, and many, of which several may run at once; raise fails and stays healthy, crash dies,
// garble breaks the protocol, exit raises and then ends.
type fakeWorker struct {
	f          *factory
	id         uint64
	generation int
	pid        int
	method     string
	readyAfter time.Duration
	done       chan struct{}

	mu      sync.Mutex // guards the fields below
	cause   workerproc.Cause
	exit    workerproc.Exit // set before done is closed
	running int             // calls
	ahead   bool            // the one that runs was sent as one behind which others may stand
	idle    chan struct{}   // closed when the last running call ends; nil without one
	line    []*inLine       // calls that were sent ahead, and have not begun, after the one that runs
	calls   []workerproc.Call
	stops   int // calls of Stop and Kill
}

var commandNames = []string{"echo", "sleep", "raise", "crash", "garble", "exit", "defy", "many"}

func (w *fakeWorker) PID() int                  { return w.pid }
func (w *fakeWorker) Done() <-chan struct{}     { return w.done }
func (w *fakeWorker) HasHook(name string) bool  { return slices.Contains(w.f.hooks, name) }
func (w *fakeWorker) StartMethod() string       { return w.method }
func (w *fakeWorker) ReadyAfter() time.Duration { return w.readyAfter }

func (w *fakeWorker) Commands() []workerproc.Command {
	var out []workerproc.Command
	for _, name := range w.names() {
		one := workerproc.Command{Name: name, TimeoutMs: float64(w.f.timeouts[name].Milliseconds()), Isolation: w.f.isolation[name], Concurrency: w.f.concurrency[name]}
		if w.f.schema != nil && name == "echo" {
			one.ArgsSchema = jsontext.Value(w.f.schema(w.generation))
		}
		out = append(out, one)
	}
	return out
}

func (w *fakeWorker) Healthy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause == ""
}

func (w *fakeWorker) Exit() workerproc.Exit {
	select {
	case <-w.done:
	default:
		w.f.violate("Exit of worker %d before its end", w.id)
	}
	return w.exit
}

// Call runs a command as a process would: one at a time, and only while healthy.
func (w *fakeWorker) Call(ctx context.Context, c *workerproc.Call) (workerproc.Reply, error) {
	w.mu.Lock()
	if w.cause != "" {
		w.mu.Unlock()
		w.f.withdrawn.Store(c.RequestID, true)
		<-w.done
		return workerproc.Reply{}, &workerproc.CrashError{Exit: w.exit}
	}
	switch {
	case w.running == 0:
		w.idle = make(chan struct{})
	case c.Ahead && w.ahead:
		w.mu.Unlock()
		return w.standInLine(ctx, c)
	case w.running >= w.f.concurrency[c.Command]:
		w.f.violate("worker %d was given %s while it ran %d other calls", w.id, c.Command, w.running)
	case !c.Shared:
		w.f.violate("worker %d was not told that %s runs beside %d others", w.id, c.Command, w.running)
	}
	w.running++
	w.ahead = c.Ahead
	w.calls = append(w.calls, *c)
	w.mu.Unlock()
	defer w.ran()
	return w.run(ctx, c)
}

func (w *fakeWorker) run(ctx context.Context, c *workerproc.Call) (workerproc.Reply, error) {
	if c.Hook {
		if w.f.hook == nil {
			return workerproc.Reply{}, nil
		}
		return workerproc.Reply{}, w.f.hook(w, c)
	}
	if !slices.Contains(w.names(), c.Command) {
		return workerproc.Reply{}, &workerproc.CommandError{Kind: workerproc.KindUnknownCommand}
	}
	switch c.Command {
	case "sleep", "many", "defy":
		d, err := time.ParseDuration(string(c.Args))
		if err != nil {
			panic(err)
		}
		return workerproc.Reply{Result: []byte(`"slept"`)}, w.take(ctx, c, d)
	case "raise":
		return workerproc.Reply{}, &workerproc.CommandError{Kind: workerproc.KindException, Type: "ValueError"}
	case "exit":
		w.end(workerproc.CauseExiting, workerproc.Exit{Reason: "exited with code 0"})
		return workerproc.Reply{}, &workerproc.CommandError{Kind: workerproc.KindException, Type: "SystemExit"}
	case "crash":
		w.crash()
		<-w.done
		return workerproc.Reply{}, &workerproc.CrashError{Exit: w.exit, Started: true}
	case "garble":
		w.end(workerproc.CauseProtocol, workerproc.Exit{Reason: "was killed by signal 9 (SIGKILL) after it broke the protocol", Signal: syscall.SIGKILL})
		<-w.done
		return workerproc.Reply{}, &workerproc.ProtocolError{Detail: "garbage", Exit: w.exit, Started: true}
	default:
		return workerproc.Reply{Result: c.Args}, nil
	}
}

// take passes the time d, unless the deadline of c or the worker's death comes first, or its cancel, which only "defy" outlives.
func (w *fakeWorker) take(ctx context.Context, c *workerproc.Call, d time.Duration) error {
	timer, deadline := time.NewTimer(d), time.NewTimer(time.Until(c.Deadline))
	defer timer.Stop()
	defer deadline.Stop()
	select {
	case <-timer.C:
		return nil
	case <-deadline.C:
		w.end(workerproc.CauseTimeout, workerproc.Exit{Reason: "was killed by signal 9 (SIGKILL) after its call ran out of time", Signal: syscall.SIGKILL})
		<-w.done
		return &workerproc.TimeoutError{Stack: "in sleep", Exit: w.exit, Started: true}
	case <-ctx.Done():
		if c.Command != "defy" {
			return &workerproc.CancelledError{Why: context.Cause(ctx), Step: workerproc.StepCancelled, Started: true}
		}
		w.end(workerproc.CauseCancelled, workerproc.Exit{Reason: "was killed by signal 9 (SIGKILL) after its call was cancelled and went on", Signal: syscall.SIGKILL})
		<-w.done
		return &workerproc.CancelledError{Why: context.Cause(ctx), Step: workerproc.StepKilled, Exit: w.exit, Started: true}
	case <-w.done:
		return &workerproc.CrashError{Exit: w.exit, Started: true}
	}
}

// crash has the process end by itself.
func (w *fakeWorker) crash() {
	w.end(workerproc.CauseCrash, workerproc.Exit{Reason: "exited with code 3", Code: 3})
}

func (w *fakeWorker) Kill() {
	w.mu.Lock()
	w.stops++
	w.mu.Unlock()
	w.end(workerproc.CauseKilled, workerproc.Exit{Reason: "was killed by signal 9 (SIGKILL) by charmer", Signal: syscall.SIGKILL})
}

// Stop waits for the running call, at most for grace.
func (w *fakeWorker) Stop(grace time.Duration) workerproc.Exit {
	w.mu.Lock()
	w.stops++
	if w.cause == "" {
		w.cause = workerproc.CauseStopped
	}
	obeys, idle := w.cause == workerproc.CauseStopped, w.idle
	w.mu.Unlock()
	exit := workerproc.Exit{Reason: "exited with code 0"}
	if obeys && idle == nil {
		w.end(workerproc.CauseStopped, exit)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-idle:
		w.end(workerproc.CauseStopped, exit)
	case <-w.done:
	case <-timer.C:
		w.end(workerproc.CauseStopped, workerproc.Exit{Reason: "killed after the grace of its stop", Signal: syscall.SIGKILL, Forced: true})
	}
	<-w.done
	return w.exit
}

// end begins the death of the process, which lasts for deathLag. The first cause stands.
func (w *fakeWorker) end(cause workerproc.Cause, exit workerproc.Exit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.exit.Cause != "" {
		return // it is dying already
	}
	exit.Cause = cause
	w.cause, w.exit = cause, exit
	if w.f.deathLag == 0 {
		w.gone()
		return
	}
	time.AfterFunc(w.f.deathLag, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.gone()
	})
}

func (w *fakeWorker) gone() {
	w.f.stopped.Add(1)
	close(w.done)
	w.withdraw()
}

// sicken has the worker take no more calls while its process lives on.
func (w *fakeWorker) sicken() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cause = workerproc.CauseCrash
}

// dead reports whether the process has ended.
func (w *fakeWorker) dead() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// sleep waits for d and returns false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
