package workerproc

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"charmer/workerproc/awake"
)

// How long a dead or silent process is given.
const (
	drainTime = 200 * time.Millisecond // for output still in the pipes when a grandchild holds them open
	exitLag   = time.Second            // between the end of its replies and being killed for it
)

// TooLargeError means that a call does not fit into a frame. The worker has not seen it.
type TooLargeError struct {
	Limit int // bytes of arguments that fit
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("arguments exceed the %d bytes that fit into a frame", e.Limit)
}

// envelopeSize is more than the envelope of a call needs without its arguments.
const envelopeSize = 8 << 10

// Reply is the answer of a command that returned.
type Reply struct {
	Result []byte        // one JSON text
	Waited time.Duration // for its turn in the pipe, of a call that was sent ahead; also with an error
}

// Worker is one process that has said READY. Its methods may be called from any goroutine.
type Worker struct {
	id         uint64
	child      *child
	maxFrame   int
	method     string // "exec" or "fork"
	runtime    string // directory of the Python runtime; empty for other workers
	limits     Limits // that the process has
	spawnedAt  time.Time
	readyAfter time.Duration // set before Spawn returns
	clock      startClock    // the same
	hello      Hello         // guarded by mu until Spawn returns, and set then
	offers     *offers       // of all workers of the spawner
	ready      Ready         // set before Spawn returns

	frames                 frameWriter
	control                *control // nil where the system has none
	in                     *os.File // to descriptor 3
	replies                *os.File // from descriptor 4
	out                    *bufio.Reader
	stdout                 *pipeReader // from descriptor 1
	stderr                 *pipeReader // from descriptor 2
	stackPipe              *os.File
	lastAnswer             time.Time // of the reader of replies
	stacks                 stacks
	pulse                  pulse
	output                 output
	cancelGrace, loopStall time.Duration

	readers  sync.WaitGroup // the three readers
	started  chan error     // one value when READY came or cannot come any more
	done     chan struct{}  // closed when the process is dead, reaped, and every call answered
	exit     Exit           // set before done is closed
	oomKills int            // the kernel's count at the start

	mu        sync.Mutex // guards the fields below
	calls     map[uint32]*openCall
	lastID    uint32
	packets   *os.File      // in once more, for frames that are packets; nil before the first call that may be sent ahead
	wideIn    bool          // the pipe of calls has been widened
	noPackets bool          // the system has none
	cause     Cause         // empty while the worker takes calls, unless it is mute
	mute      bool          // it has ended its replies, though it may live on
	dead      bool          // only what it left in its pipes is still read
	emptied   chan struct{} // closed, and nil again, when the reader of replies has caught up; nil if nobody waits for it
	detail    string        // how it broke the protocol, if it did
	stage     string        // what it reported last before READY
	refusal   errorBody     // of an ERROR before READY
	forced    bool          // killed after the grace of a stop, or for living on without answering
	expired   *openCall     // the call for which it is killed
	stack     string        // the dump for it
}

// openCall is a call that has no answer yet.
type openCall struct {
	id      uint32
	request *Call
	packet  bool // its frame is read alone
	sent    time.Time
	stdout  int64 // position in what descriptor 1 gets at which its output can begin, once it is its turn
	stderr  int64 // the same for descriptor 2
	end     int64 // position in the stream of frames at which it ends
	done    chan struct{}
	reply   Reply // set, like err, before done is closed
	err     error
	why     error // it is being ended, or nil; guarded by Worker.mu
}

func (open *openCall) settled() bool {
	select {
	case <-open.done:
		return true
	default:
		return false
	}
}

// ID returns the number that Spawn was given.
func (w *Worker) ID() uint64 { return w.id }

// PID returns the process id, also after death.
func (w *Worker) PID() int { return w.child.pid }

// StartMethod returns how the process was made: "fork", or "exec".
func (w *Worker) StartMethod() string { return w.method }

// Commands returns what the app offers, as READY said it.
func (w *Worker) Commands() []Command { return w.ready.Commands }

// HasHook reports whether the app has functions for "session_start" or "session_end".
func (w *Worker) HasHook(name string) bool { return slices.Contains(w.ready.Hooks, name) }

// Language names interpreter and version, for instance "CPython 3.11.7".
func (w *Worker) Language() string { return w.hello.Language }

// ReadyAfter returns the time from spawn to READY.
func (w *Worker) ReadyAfter() time.Duration { return w.readyAfter }

// Done is closed when the process is dead and every call has its answer.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Exit returns how the process ended. It must not be called before Done is closed.
func (w *Worker) Exit() Exit { return w.exit }

// Healthy reports whether the worker takes calls.
func (w *Worker) Healthy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause == "" && !w.mute
}

// Call sends c and waits for its answer. When ctx ends or the deadline passes, the call is ended, which takes no longer than
// the grace, and may still have its answer. The error is a *CommandError, or a *CancelledError or *TimeoutError with
// StepCancelled, after which the worker is healthy; a *TooLargeError, with nothing sent; or one of those two with
// StepKilled, a *CrashError or a *ProtocolError, after which the process is dead.
func (w *Worker) Call(ctx context.Context, c *Call) (Reply, error) {
	if limit := w.maxFrame - envelopeSize; len(c.Args) > limit {
		return Reply{}, &TooLargeError{Limit: limit}
	}
	open := &openCall{request: c, done: make(chan struct{})}
	c.Events.open(func(n int) { w.grant(open, n) })
	defer c.Events.close()
	if !w.send(open) {
		<-w.done
		return Reply{}, &CrashError{Exit: w.exit}
	}
	// These also free this goroutine from a pipe that nobody reads. They end with the call.
	timer := time.AfterFunc(c.Deadline.Sub(open.sent), func() { w.end(open, errDeadline) })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { w.end(open, context.Cause(ctx)) })()
	if c.Shared {
		defer w.pulse.watch(w)()
	}
	// A failed write means that the process has closed its end; its death answers the call.
	_ = w.frames.flush()
	if c.Awake > 0 {
		awake.For(w.replies, c.Awake, open.done)
	}
	<-open.done
	return open.reply, open.err
}

// send queues the frame of a call, or returns false if the worker takes none.
func (w *Worker) send(open *openCall) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != "" || w.mute {
		return false
	}
	if open.request.Ahead {
		w.aheadLocked()
	}
	if len(open.request.Args) > largeFrame && !w.wideIn {
		w.wideIn = true
		widen(w.in)
	}
	if len(w.calls) == 0 || !open.request.Ahead {
		w.isNextLocked(open)
	}
	packet := open.request.Ahead && w.onlyPacketsLocked()
	w.lastID++
	id := w.lastID
	open.id, open.sent = id, time.Now()
	w.calls[id] = open
	build := func(dst []byte) []byte {
		dst = beginFrame(dst, KindCall, id)
		return endFrame(open.request.appendEnvelope(dst, open.sent), len(dst))
	}
	if packet {
		open.end, open.packet = w.frames.queuePacket(build)
	} else {
		open.end = w.frames.queue(build)
	}
	return true
}

// isNextLocked notes that what is printed from now on can be that of open.
func (w *Worker) isNextLocked(open *openCall) {
	open.stdout, open.stderr = w.stdout.written(), w.stderr.written()
}

// Kill ends the process group at once. Open calls are answered with a *CrashError.
func (w *Worker) Kill() { w.kill(CauseKilled, "") }

// kill ends the process group for cause unless another cause came first.
func (w *Worker) kill(cause Cause, detail string) {
	w.mu.Lock()
	if w.cause == "" || w.cause == CauseStopped || w.cause == CauseExiting {
		w.cause, w.detail = cause, detail
	}
	w.mu.Unlock()
	w.child.killGroup()
}

// Stop asks the worker to end, kills its group if it has not after grace, and returns when it is dead. A call that runs
// may finish within the grace.
func (w *Worker) Stop(grace time.Duration) Exit {
	w.mu.Lock()
	if w.cause == "" {
		w.cause = CauseStopped
	}
	w.mu.Unlock()
	timer := time.AfterFunc(grace, func() {
		w.mu.Lock()
		w.forced = true
		w.mu.Unlock()
		w.child.killGroup()
	})
	defer timer.Stop()
	w.frames.queue(func(dst []byte) []byte { return AppendFrame(dst, Frame{Kind: KindStop}) })
	_ = w.frames.flush() // a worker that cannot be told is dead or will be killed
	<-w.done
	return w.exit
}

// lateStart kills a worker that was not ready when ctx ended, and returns where it hangs, and why. If its time was up, it
// returns no error for a READY that had come all the same, or the error of a start that had ended.
func (w *Worker) lateStart(ctx context.Context) (stack string, err error) {
	err = fmt.Errorf("start given up: %w", context.Cause(ctx))
	if context.Cause(ctx) == context.DeadlineExceeded {
		w.catchUp()
		select {
		case err = <-w.started:
			return "", err
		default:
		}
		err = fmt.Errorf("not ready after %s", time.Since(w.spawnedAt).Round(10*time.Millisecond))
		stack = w.stacks.last(w.child, w.stackPipe, w.runtime)
	}
	w.Kill()
	return stack, err
}

// awaitReady waits for READY. On any other outcome it kills the process and returns a *StartError with its evidence.
func (w *Worker) awaitReady(ctx context.Context) error {
	var err error
	var stack string
	select {
	case err = <-w.started: // after a failure the reader sees to the end of the process
	case <-ctx.Done():
		stack, err = w.lateStart(ctx)
	}
	if err == nil {
		w.readyAfter = time.Since(w.spawnedAt)
		return nil
	}
	<-w.done
	w.mu.Lock()
	stage, refusal := w.stage, w.refusal
	w.mu.Unlock()
	if refusal.Kind != "" {
		err = w.limits.startFailure(refusal.Type, refusal.Message)
	}
	if refusal.Stage != "" {
		stage = refusal.Stage
	}
	return &StartError{Stage: stage, Detail: err.Error(), Traceback: cmp.Or(refusal.Traceback, stack), Exit: w.exit}
}
