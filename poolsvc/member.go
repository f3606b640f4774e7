package poolsvc

import (
	"context"
	"time"
)

// State is what a worker does, as seen by the pool.
type State string

// The states of a worker.
const (
	StateStarting State = "starting"
	StateIdle     State = "idle"
	StateBusy     State = "busy"
	StateLeased   State = "leased"
	StateSpare    State = "spare" // ready, and waits for an owner
	StateStopping State = "stopping"
	stateGone     State = "gone" // no longer a member
)

// ExitReason says why a worker ended, for metrics and logs. The set is closed.
type ExitReason string

// The reasons.
const (
	ExitCrash     ExitReason = "crash"     // ended by itself with an exit code
	ExitSignal    ExitReason = "signal"    // killed by a signal that charmer did not send
	ExitOOM       ExitReason = "oom"       // killed while the kernel ran out of memory
	ExitProtocol  ExitReason = "protocol"  // broke the protocol
	ExitTimeout   ExitReason = "timeout"   // a call ran out of time, and could not be cancelled
	ExitCancelled ExitReason = "cancelled" // a call was to end, and could not be cancelled
	ExitExiting   ExitReason = "exiting"   // a command asked for it: sys.exit
	ExitRecycle   ExitReason = "recycle"   // replaced on request
	ExitSession   ExitReason = "session"   // its session ended or expired
	ExitLease     ExitReason = "lease"     // replaced after a lease that ran calls in it
	ExitFresh     ExitReason = "fresh"     // its one call is done
	ExitSpare     ExitReason = "spare"     // a spare that is not needed any more
	ExitShutdown  ExitReason = "shutdown"

	ExitReload      ExitReason = "reload"       // replaced by one that runs newer code
	ExitMaxRequests ExitReason = "max_requests" // replaced after so many calls
	ExitMaxAge      ExitReason = "max_age"      // replaced for its age
	ExitMaxMemory   ExitReason = "max_memory"   // replaced for its memory
	ExitIdle        ExitReason = "idle"         // the pool shrank
)

// ExitReasons lists all reasons.
var exitReasons = []ExitReason{ExitCrash, ExitSignal, ExitOOM, ExitProtocol, ExitTimeout, ExitCancelled, ExitExiting, ExitRecycle, ExitSession, ExitLease, ExitFresh,
	ExitSpare, ExitShutdown, ExitReload, ExitMaxRequests, ExitMaxAge, ExitMaxMemory, ExitIdle}

// member is one worker: of the pool, of a session, of a fresh call, or a spare. Pool.mu guards all fields but the first five.
type member struct {
	id     uint64
	first  bool               // that starts of its generation, beside the pool until it is ready
	slots  chan struct{}      // of which it takes one while it starts; the first of a generation needs none
	ctx    context.Context    // of its start
	cancel context.CancelFunc // gives the start up

	session   *session   // owner, or nil; changes only before the worker is up, and of a spare
	freshCall *freshCall // owner, likewise
	spare     bool       // has no owner yet
	standsBy  bool       // a fresh call has its place
	spawnedAt time.Time

	generation int        // of the app that it runs; fixed once its start has had its turn
	offers     *Catalogue // what it offers, or while it starts, what its generation did; nil if unknown. Fixed once it is up

	worker    Worker // nil while starting
	state     State
	pid       int
	stage     string        // what it reported last while starting
	readyAt   time.Time     // zero until its owner can use it
	uses      int           // times it was handed out
	calls     int64         // calls answered
	lease     *lease        // that holds it, or nil
	running   []*execution  // the oldest first
	busySince time.Time     // of the first of them, while there are any
	inUse     int           // by several, side by side or in line; 0 if it has at most one user, who has it for itself
	inLine    bool          // they are in line
	cost      time.Duration // that the calls in line are expected to take
	answers   int64         // to calls that ran in it
	seen      int64         // of them, at the last look at its line; -1 before
	stuck     bool          // its line did not move, and is dissolved until it does
	used      bool          // by a lease, whose calls may have left something behind
	broadcast int           // the last one that it has run; 0 for none
	catchesUp bool          // it runs broadcasts, and nothing else
	retiring  bool          // to be stopped when it is free and replaced
	reason    ExitReason    // why it is being stopped; empty if it is not

	idleSince time.Time  // of the last time that it became idle
	limits    limits     // of a worker of the pool that is ready
	private   int64      // bytes at the last look; 0 before
	looked    int64      // calls answered at the last look, and 1; 0 before
	worn      ExitReason // why it is or will be retiring: a limit that it has reached, or newer code; empty if it is not
	end       *Ended     // how it ended, once it has
	before    *Ended     // how the worker ended in whose place it is; nil if there was none
	stack     *stackRequest
}

// The stages of a start before and after the process itself reports any.
const (
	stageQueued = "queued" // it waits for its turn
	stageReady  = "ready"  // it had said READY
)

// ref is how replies name the worker.
func (m *member) ref() WorkerRef {
	return WorkerRef{ID: m.id, PID: m.pid, Generation: m.generation}
}

// pooled reports whether m is a worker of the pool.
func (m *member) pooled() bool { return m.session == nil && m.freshCall == nil && !m.spare }

// owned reports whether m has an owner other than the pool. The start of a worker that has none is the pool's concern.
func (m *member) owned() bool { return m.session != nil || m.freshCall != nil }

// trialLocked is how long a worker that nobody uses must live to prove that it can.
func (m *member) trialLocked() time.Duration {
	return max(minTrial, trialFactor*m.worker.ReadyAfter())
}

// WorkerRef names a worker in replies.
type WorkerRef struct {
	ID         uint64
	PID        int
	Generation int // of the app, from 1
}
