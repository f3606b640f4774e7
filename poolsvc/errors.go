package poolsvc

import (
	"errors"
	"fmt"
	"time"

	"charmer/workerproc"
)

// Conditions under which a request is refused. Python has not started.
var (
	ErrCheckoutTimeout   = errors.New("no worker came free in time")
	ErrQueueFull         = errors.New("the queue is full")
	ErrStarting          = errors.New("no worker is ready yet")
	ErrDraining          = errors.New("the service is draining")
	ErrCrashLooping      = errors.New("workers cannot start")
	ErrSessionLimit      = errors.New("too many sessions")
	ErrSessionBusy       = errors.New("the session is busy")
	ErrLeaseBusy         = errors.New("a call runs on this lease")
	ErrLeaseNotFound     = errors.New("no such lease")
	ErrLeaseExpired      = errors.New("the lease has ended")
	ErrSessionNotFound   = errors.New("no such session")
	ErrSessionLost       = errors.New("the session's process is gone")
	ErrUnknownCommand    = errors.New("no such command")
	ErrExecutionNotFound = errors.New("no such call is under way")
	ErrBroadcastNotFound = errors.New("no such broadcast")
	ErrNotStreamable     = errors.New("the command yields no items")
	ErrWorkerNotFound    = errors.New("no such worker")
	ErrReloadRunning     = errors.New("another reload is starting its first worker")
	ErrNoStack           = errors.New("the worker gives no stack")
	ErrNotRecyclable     = errors.New("the worker is not one of the pool")
	ErrNotShared         = errors.New("a fresh call has a worker of its own, so it takes no lease and no session")
	// ErrClientGone means that the caller's context ended the wait.
	ErrClientGone = errors.New("the client left")
)

// RefusedError is a refusal that can be retried: Err is one of the conditions above.
type RefusedError struct {
	Err         error
	Detail      string
	RetryAfter  time.Duration
	Waited      time.Duration
	QueueLength int
	Start       *workerproc.StartError // why workers cannot start, for ErrCrashLooping
}

func (e *RefusedError) Error() string {
	if e.Detail == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s: %s", e.Err, e.Detail)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// GoneError says why a lease or session that existed is no more. Err is ErrLeaseExpired or ErrSessionLost.
type GoneError struct {
	Err    error
	Reason string           // one sentence
	Exit   *workerproc.Exit // of the process, if its end was the reason
	Ended  *Ended           // the same of a lost session's worker, for the one that takes its place
}

func (e *GoneError) Error() string { return fmt.Sprintf("%s: %s", e.Err, e.Reason) }
func (e *GoneError) Unwrap() error { return e.Err }

// CallError is the failure of a call that was sent to a worker. Err is an error of workerproc.Worker.Call.
type CallError struct {
	Worker  WorkerRef
	Command string
	Err     error
}

func (e *CallError) Error() string {
	return fmt.Sprintf("call %s on worker %d: %s", e.Command, e.Worker.ID, e.Err)
}
func (e *CallError) Unwrap() error { return e.Err }

// The failures of a call that was sent, found in a CallError with errors.As. They are those of workerproc under names
// that its users, who know no processes, can say.
type (
	Command        = workerproc.Command        // one function of the app
	CommandError   = workerproc.CommandError   // Python raised, or would not take the arguments; the worker is healthy
	CrashError     = workerproc.CrashError     // the worker died
	ProtocolError  = workerproc.ProtocolError  // the worker broke the protocol
	TimeoutError   = workerproc.TimeoutError   // the call ran out of time
	CancelledError = workerproc.CancelledError // the call was ended by request
	Step           = workerproc.Step           // how far the ladder went by which a call was ended
	Event          = workerproc.Event          // what a call says before its answer
	Feed           = workerproc.Feed           // hands that to the caller
	TooLargeError  = workerproc.TooLargeError  // the arguments do not fit; nothing was sent
	Exit           = workerproc.Exit           // how a process ended
)

// NewFeed returns the feed of one call.
func NewFeed() *Feed { return workerproc.NewFeed() }

// The steps by which a call was ended, besides StepDequeued.
const (
	StepCancelled = workerproc.StepCancelled
	StepKilled    = workerproc.StepKilled
)

// The kinds of CommandError that are told apart outside.
const (
	KindInvalidArgs    = workerproc.KindInvalidArgs
	KindUnknownCommand = workerproc.KindUnknownCommand
	KindCommandError   = workerproc.KindCommandError
)
