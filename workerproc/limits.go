package workerproc

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits bound what one worker may use. Zero is no limit. The kernel enforces them, so they hold for native code too, and
// processes that the worker starts inherit them, each with a count of its own.
//
// A Python worker sets them itself, first thing in its process, whether that was made by exec or by fork: to lower a limit
// needs no privilege, and no call or hook of the app has run yet. A zygote limits its memory alone. prlimit(2) from here would need CAP_SYS_RESOURCE for a worker
// of another user, which containers do not have by default, and would race with a fork that runs at once. For the commands
// of others it is the only way, and is used right after the start.
type Limits struct {
	Memory    int64         // bytes that it maps privately and writably (RLIMIT_DATA)
	CPU       time.Duration // processor time in its whole life, whole seconds (RLIMIT_CPU)
	Files     int           // one more than its highest descriptor can be (RLIMIT_NOFILE)
	Processes int           // processes and threads that its user has, counted over the machine (RLIMIT_NPROC)
}

// Limit names one of Limits.
type Limit string

// The limits.
const (
	LimitMemory    Limit = "memory"
	LimitCPU       Limit = "cpu"
	LimitFiles     Limit = "files"
	LimitProcesses Limit = "processes"
)

// cpuGrace is the processor time between SIGXCPU, which a worker can ignore, and the kernel's SIGKILL.
const cpuGrace = time.Second

// rlimit is a limit as the kernel takes it.
type rlimit struct {
	name     string // as C and Python call it
	resource int
	soft     uint64
	hard     uint64
}

// rlimits returns those that are set.
//
// Memory is RLIMIT_DATA and not RLIMIT_AS. Address space says little: numeric libraries and allocators reserve gigabytes
// that they never touch, and files that are mapped to be read count in it. RLIMIT_DATA counts what can become memory of
// this process alone.
func (l Limits) rlimits() []rlimit {
	second := uint64(l.CPU / time.Second)
	all := []rlimit{
		{"RLIMIT_DATA", unix.RLIMIT_DATA, uint64(l.Memory), uint64(l.Memory)},
		{"RLIMIT_CPU", unix.RLIMIT_CPU, second, second + uint64(cpuGrace/time.Second)},
		{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, uint64(l.Files), uint64(l.Files)},
		{"RLIMIT_NPROC", unix.RLIMIT_NPROC, uint64(l.Processes), uint64(l.Processes)},
	}
	var set []rlimit
	for _, r := range all {
		if r.soft > 0 {
			set = append(set, r)
		}
	}
	return set
}

// check returns an error if a limit is above what this process may hand on.
func (l Limits) check() error {
	for _, r := range l.rlimits() {
		var own unix.Rlimit
		if err := unix.Getrlimit(r.resource, &own); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if own.Max < r.hard {
			return fmt.Errorf("a limit of %d is above the hard %s of charmer itself, %d", r.soft, r.name, own.Max)
		}
	}
	return nil
}

// variable is what tells a Python worker its limits. Form: docs/protocol.md, section 1.
func (l Limits) variable() string {
	var pairs []string
	for _, r := range l.rlimits() {
		pairs = append(pairs, fmt.Sprintf("%q:[%d,%d]", r.name, r.soft, r.hard))
	}
	return "CHARMER_WORKER_LIMITS={" + strings.Join(pairs, ",") + "}"
}

// String names the limits that are set, such as "memory 256MiB, CPU 10s"; empty if none is.
func (l Limits) String() string {
	var parts []string
	for _, limit := range []Limit{LimitMemory, LimitCPU, LimitFiles, LimitProcesses} {
		if l.set(limit) {
			name, value := l.words(limit)
			parts = append(parts, name+" "+value)
		}
	}
	return strings.Join(parts, ", ")
}

func (l Limits) set(limit Limit) bool {
	return map[Limit]bool{LimitMemory: l.Memory > 0, LimitCPU: l.CPU > 0, LimitFiles: l.Files > 0, LimitProcesses: l.Processes > 0}[limit]
}

// words returns the name and the value of a limit for people.
func (l Limits) words(limit Limit) (name, value string) {
	switch limit {
	case LimitMemory:
		if l.Memory%(1<<20) == 0 {
			return "memory", fmt.Sprintf("%dMiB", l.Memory>>20)
		}
		return "memory", fmt.Sprintf("%dB", l.Memory)
	case LimitCPU:
		return "CPU", l.CPU.String()
	case LimitFiles:
		return "files", strconv.Itoa(l.Files)
	default:
		return "processes", strconv.Itoa(l.Processes)
	}
}

// signs are what programs say, in lower case, when a limit stops them.
var signs = []struct {
	limit Limit
	text  string
}{
	{LimitMemory, "memoryerror"}, // Python, numpy
	{LimitMemory, "bad_alloc"},   // C++
	{LimitMemory, "cannot allocate memory"},
	{LimitMemory, "can't allocate memory"}, // torch
	{LimitMemory, "memory allocation of"},  // Rust
	{LimitFiles, "too many open files"},
	{LimitProcesses, "resource temporarily unavailable"},
	{LimitProcesses, "can't start new thread"},
	{LimitMemory, "can't start new thread"}, // for want of a stack
}

// suspect returns the limit that text speaks of, if it is set, or "".
func (l Limits) suspect(text string) Limit {
	text = strings.ToLower(text)
	for _, sign := range signs {
		if l.set(sign.limit) && strings.Contains(text, sign.text) {
			return sign.limit
		}
	}
	return ""
}

// hint is a clause about a suspected limit.
func (l Limits) hint(limit Limit) string {
	name, value := l.words(limit)
	return fmt.Sprintf("the worker's limit of %s (%s) may be why", name, value)
}

// judge fills Limit and Reason from the other fields, from the limits that the process had, and from the processor time that
// it has used.
func (e *Exit) judge(l Limits, cpu time.Duration) {
	e.describe()
	ended := e.Signal == syscall.SIGXCPU ||
		e.Signal == syscall.SIGKILL && e.Cause == CauseCrash && !e.Forced && !e.OOMSuspected && cpu >= l.CPU
	switch {
	case l.CPU > 0 && ended:
		e.Limit = LimitCPU
		e.Reason += fmt.Sprintf("; it had used up its CPU limit of %s", l.CPU)
	case e.Cause == CauseCrash:
		if e.Limit = l.suspect(strings.Join(e.StderrTail, "\n")); e.Limit != "" {
			e.Reason += "; " + l.hint(e.Limit)
		}
	}
}

// explain adds to what Python raised which limit may be the reason.
func (l Limits) explain(e *CommandError) {
	if e.Kind != KindException && e.Kind != KindBadResult {
		return // the app's own words, or no Python has run
	}
	if e.Limit = l.suspect(e.Error()); e.Limit != "" {
		e.Hint = l.hint(e.Limit)
	}
}

// startFailure returns the error of a process whose app raised before it was ready.
func (l Limits) startFailure(class, message string) error {
	raised := &CommandError{Kind: KindException, Type: class, Message: message}
	if l.explain(raised); raised.Hint != "" {
		return fmt.Errorf("%w; %s", raised, raised.Hint)
	}
	return raised
}
