package poolsvc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
