package poolsvc

import (
	"context"
	"log/slog"
	"time"

	"charmer/workerproc"
)

// Worker is what the pool needs of a process; *workerproc.Worker is one. The contracts are those of its methods.
type Worker interface {
	PID() int
	Call(context.Context, *workerproc.Call) (workerproc.Reply, error)
	Stop(grace time.Duration) workerproc.Exit
	Kill()
	Healthy() bool
	Done() <-chan struct{}
	Exit() workerproc.Exit
	Commands() []workerproc.Command
	HasHook(name string) bool
	ReadyAfter() time.Duration
	StartMethod() string
	Phases() workerproc.Phases
	Stack() string
	Usage() (workerproc.Usage, error)
	TakesAhead() bool
	Withdraw()
}

// Config says what a pool is. All fields are required but Lazy, MinReady, LeaseShare, LeaseReuse, Spares and those that say so.
type Config struct {
	// Spawn starts a worker of a generation of the app, from 1, and returns when it is ready; see
	// workerproc.Spawner.Spawn. It may be called from several goroutines at once, but at most StartParallelism for the
	// pool and its spares, and as many for sessions and fresh calls.
	Spawn func(ctx context.Context, generation int, id uint64, progress func(pid int, stage string)) (Worker, error)
	// Retire is called once for a generation of which Spawn will start no more workers. Those that run may live on. It
	// is not called for those that are left when the pool is closed.
	Retire func(generation int)
	// Renew has the next Spawn of a generation import the app anew. It is called before a start while workers fail to
	// start and none is up: what is wrong with the app may have been repaired.
	Renew func(generation int)
	// StartingStack returns the stacks of a worker that Spawn has not returned yet, or ""; see
	// workerproc.Spawner.StartingStack. It may be nil.
	StartingStack func(id uint64) string
	// Zygote describes where the workers of a generation are forked from.
	Zygote           func(generation int) workerproc.ZygoteStatus
	Workers          int           // size of the pool, at most
	MinWorkers       int           // size of the pool, at least; New makes it 0 if Lazy
	ScaleDownAfter   time.Duration // idleness after which a worker above MinWorkers stops, one in each such time
	MaxRequests      int64         // calls after which a worker of the pool is replaced; 0 is no limit
	MaxAge           time.Duration // since it joined the pool; 0 is no limit
	MaxMemory        int64         // private bytes; 0 is no limit
	Spares           int           // ready workers beside the pool, to take a place in it or open a session; or AutomaticSpares
	StartParallelism int           // workers that start at the same time, of the pool and spares, and of the others
	MinReady         int           // workers that must be up for Ready; 0 never waits for any
	Lazy             bool          // start workers when requests need them
	StartTimeout     time.Duration
	CheckoutTimeout  time.Duration // wait for a worker unless the request says otherwise
	ExecuteTimeout   time.Duration // wait and run unless the request or the command says otherwise
	StopGrace        time.Duration // between asking a worker to stop and killing it
	MaxQueue         int           // requests that wait, exactly
	Prefetch         int           // calls of fast commands that wait in a busy worker for their turn, at most; 0 sends none ahead
	LeaseTTL         time.Duration
	LeaseShare       float64 // share of Workers that leases may hold, over 0 to 1; at least one worker
	LeaseLimit       int     // derived from LeaseShare by New
	LeaseReuse       bool    // keep a worker that ran calls of a lease, instead of replacing it
	SessionIdle      time.Duration
	SessionLifetime  time.Duration
	MaxSessions      int
	Log              *slog.Logger
}

// Times that nobody needs to set.
const (
	minTrial        = time.Second            // a worker that dies unused before this counts as a failed start
	trialFactor     = 5                      // of its start time: the same, if that is more
	backoffInitial  = 100 * time.Millisecond // delay after the first failed start
	backoffMax      = 30 * time.Second
	measureInterval = time.Second     // between two looks at a worker's memory, at least
	tickInterval    = time.Second     // of the janitor
	liveWithin      = 5 * time.Second // a janitor silent for longer is dead
	maxTombs        = 10_000          // ended leases and lost sessions remembered, each
	maxAttempts     = 3               // workers tried for a call that no worker has begun
)
