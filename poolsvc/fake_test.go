package poolsvc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/workerproc"
)

// factory makes in-memory workers, as Config.Spawn, and remembers what became of them. The fields up to mu are its
// program, to be changed only before New or by the functions that say so.
type factory struct {
	plan        func(attempt int) (time.Duration, error) // how long the n-th start takes, from 1, and how it fails
	hooks       []string
	deathLag    time.Duration // between the end of a worker's health and that of its process
	hook        func(w *fakeWorker, c *workerproc.Call) error
	timeouts    map[string]time.Duration      // of commands
	isolation   map[string]string             // of commands
	concurrency map[string]int                // of commands
	offers      func(generation int) []string // commands beside those that all workers have; nil for none
	schema      func(generation int) string   // of the arguments of echo; nil for none
	stillborn   bool                          // workers die as they come up
	usage       func(w *fakeWorker) (workerproc.Usage, error)

	stackTime time.Duration // that a stack takes
	noStacks  bool          // workers give none
	stacks    atomic.Int64  // asked for

	stopped   atomic.Int64 // workers whose process has ended
	ahead     atomic.Int64 // calls that were sent ahead to a worker that ran others
	withdrawn sync.Map     // by request id

	mu          sync.Mutex // guards the fields below
	workers     []*fakeWorker
	attempts    []time.Time // of starts
	retired     []int       // generations
	renewals    int
	starting    int
	maxStarting int
	violations  []string
	method      string // how the next workers are started, for what they tell
}

func newFactory() *factory {
	return &factory{plan: func(int) (time.Duration, error) { return 0, nil }, method: "exec"}
}

// startsIn has every start take d.
func startsIn(d time.Duration) func(int) (time.Duration, error) {
	return func(int) (time.Duration, error) { return d, nil }
}

// spawn is a Config.Spawn.
func (f *factory) spawn(ctx context.Context, generation int, id uint64, progress func(pid int, stage string)) (Worker, error) {
	f.mu.Lock()
	f.attempts = append(f.attempts, time.Now())
	attempt := len(f.attempts)
	f.starting++
	f.maxStarting = max(f.maxStarting, f.starting)
	plan := f.plan
	over := slices.Contains(f.retired, generation)
	f.mu.Unlock()
	if over {
		f.violate("worker %d was started in generation %d, which is retired", id, generation)
	}
	defer func() {
		f.mu.Lock()
		f.starting--
		f.mu.Unlock()
	}()

	pid := 1000 + int(id)
	progress(pid, "import app")
	delay, err := plan(attempt)
	if !sleep(ctx, delay) {
		return nil, &workerproc.StartError{Stage: "import app", Detail: "start given up"}
	}
	if err != nil {
		return nil, err
	}
	w := &fakeWorker{f: f, id: id, generation: generation, pid: pid, readyAfter: delay, done: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.method = f.method
	f.workers = append(f.workers, w)
	if f.stillborn {
		w.crash()
	}
	return w, nil
}

// renew is a Config.Renew.
func (f *factory) renew(int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewals++
}

// renewed returns how often the app was to be imported anew.
func (f *factory) renewed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.renewals
}

// replan changes how workers start.
func (f *factory) replan(plan func(attempt int) (time.Duration, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = plan
}

// starts returns when Spawn was called.
func (f *factory) starts() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.attempts)
}

// started returns the workers that were ready, in that order.
func (f *factory) started() []*fakeWorker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.workers)
}

// last returns the worker that was ready last.
func (f *factory) last() *fakeWorker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.workers[len(f.workers)-1]
}

// worker returns the worker with that id.
func (f *factory) worker(id uint64) *fakeWorker {
	for _, w := range f.started() {
		if w.id == id {
			return w
		}
	}
	panic(fmt.Sprintf("no worker %d", id))
}

// broken returns how the contract of Worker was broken.
func (f *factory) broken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.violations)
}

// violate notes a broken contract of Worker.
func (f *factory) violate(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.violations = append(f.violations, fmt.Sprintf(format, args...))
}

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
