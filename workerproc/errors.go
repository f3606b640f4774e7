package workerproc

import (
	"cmp"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// CommandErrorKind says how a command failed in a worker that stays healthy. Source: docs/protocol.md, section 5.
type CommandErrorKind string

// The kinds of CommandError.
const (
	KindException      CommandErrorKind = "exception"       // it raised
	KindCommandError   CommandErrorKind = "command_error"   // it raised charmer.CommandError
	KindBadResult      CommandErrorKind = "bad_result"      // it returned what JSON cannot carry
	KindInvalidArgs    CommandErrorKind = "invalid_args"    // arguments did not fit; no user code ran
	KindUnknownCommand CommandErrorKind = "unknown_command" // no user code ran

	kindCancelled CommandErrorKind = "cancelled" // is told as a CancelledError or a TimeoutError
)

// CommandError is an ERROR reply: the call has its answer and the worker is healthy.
type CommandError struct {
	Kind      CommandErrorKind
	Type      string // qualified name of the exception's class
	Message   string
	Traceback string
	Code      string     // chosen by charmer.CommandError
	Status    int        // HTTP status chosen by charmer.CommandError, else 0
	Errors    []ArgError // of invalid_args
	Limit     Limit      // of the worker's limits the one that may be why; or empty
	Hint      string     // a clause that says so, or empty
}

func (e *CommandError) Error() string {
	if e.Type == "" {
		return e.Message
	}
	return e.Type + ": " + e.Message
}

// Started reports whether user code ran.
func (e *CommandError) Started() bool {
	return e.Kind != KindInvalidArgs && e.Kind != KindUnknownCommand
}

// CrashError means that the process ended, or closed its pipe, with the call unanswered.
type CrashError struct {
	Exit    Exit
	Started bool // false only if the call certainly never reached the worker
}

func (e *CrashError) Error() string { return "worker crashed: " + e.Exit.Reason }

// ProtocolError means that the worker broke docs/protocol.md and was killed.
type ProtocolError struct {
	Detail  string
	Exit    Exit
	Started bool
}

func (e *ProtocolError) Error() string { return "worker broke the protocol: " + e.Detail }

// TimeoutError means that the call was ended because its deadline had passed.
type TimeoutError struct {
	Step    Step
	Stack   string // where Python was: the traceback of the cancel, or before a kill the stacks of all threads; may be empty
	Exit    Exit   // of a worker that was killed
	Started bool   // false only if the call certainly did not begin
}

func (e *TimeoutError) Error() string { return "execution timeout" }

// CancelledError means that the call was ended because somebody wanted it to.
type CancelledError struct {
	Why     error // the cause of the context's end
	Step    Step
	Stack   string // as in TimeoutError
	Exit    Exit   // of a worker that was killed
	Started bool   // false only if the call certainly did not begin
}

func (e *CancelledError) Error() string { return "cancelled: " + e.Why.Error() }
func (e *CancelledError) Unwrap() error { return e.Why }

// StartError means that a process did not become a worker.
type StartError struct {
	Stage     string // what it did last, for instance "import app"
	Detail    string // one sentence
	Traceback string // of the Python exception if there was one; of a process that hung, the stacks of its threads
	Exit      Exit
}

func (e *StartError) Error() string {
	return fmt.Sprintf("start of worker: %s: %s", e.Stage, e.Detail)
}

// Cause says why a process ended.
type Cause string

// The causes. Whoever acts first decides: a kill for a timeout stays a timeout whatever the process does meanwhile.
const (
	CauseStopped   Cause = "stopped"   // asked to stop, and did or was killed after the grace
	CauseKilled    Cause = "killed"    // Kill was called
	CauseTimeout   Cause = "timeout"   // a call outlived its deadline, and the grace after it
	CauseCancelled Cause = "cancelled" // a call outlived the grace after it was cancelled
	CauseProtocol  Cause = "protocol"  // it broke the protocol
	CauseExiting   Cause = "exiting"   // it announced its end (sys.exit in a command)
	CauseCrash     Cause = "crash"     // it ended by itself
)

// Exit is the evidence of how a process ended.
type Exit struct {
	Cause        Cause
	Reason       string         // one sentence
	Code         int            // exit code, -1 if a signal ended it or Unknown is set
	Signal       syscall.Signal // 0 if it exited
	Unknown      bool           // its status was lost with the zygote that had forked it
	Limit        Limit          // the limit that ended it or, unless that is LimitCPU, may have done so; or empty
	OOMSuspected bool           // SIGKILL that was not ours while the kernel killed for lack of memory
	Forced       bool           // it outlived the grace of a stop, or lived on without answering, and was killed
	Output       []string       // last lines of output, oldest first, each "stream: text"
	StderrTail   []string       // last lines of standard error and of logging, oldest first
}

// SignalName returns the name of the signal that ended the process, such as SIGKILL or SIGRTMIN+5.
func (e *Exit) SignalName() string {
	const rtmin = 34 // as the C library counts; it keeps two for itself
	if e.Signal >= rtmin {
		return fmt.Sprintf("SIGRTMIN+%d", int(e.Signal)-rtmin)
	}
	return cmp.Or(unix.SignalName(e.Signal), "unknown")
}

// describe fills Reason from the other fields.
func (e *Exit) describe() {
	var b strings.Builder
	switch {
	case e.Signal != 0:
		fmt.Fprintf(&b, "was killed by signal %d (%s)", int(e.Signal), e.SignalName())
	case e.Unknown:
		b.WriteString("ended, and its status was lost with the process that had forked it")
	case e.Code == 0:
		b.WriteString("exited with code 0")
	default:
		fmt.Fprintf(&b, "exited with code %d", e.Code)
	}
	switch e.Cause {
	case CauseTimeout:
		b.WriteString(" after its call ran out of time")
	case CauseCancelled:
		b.WriteString(" after its call was cancelled and went on")
	case CauseProtocol:
		b.WriteString(" after it broke the protocol")
	case CauseKilled:
		b.WriteString(" by charmer")
	case CauseStopped:
		if e.Forced {
			b.WriteString(" after the grace of its stop")
		}
	default:
		if e.Forced {
			b.WriteString(" by charmer, for it lived on without answering")
		}
	}
	if e.OOMSuspected {
		b.WriteString("; the kernel was killing for lack of memory")
	}
	e.Reason = b.String()
}
