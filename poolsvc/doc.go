// Package poolsvc runs many workers: checkout with a bounded first-in, first-out queue, leases, sessions, replacement
// with backoff, drain, and one [Stats] snapshot. It knows nothing of HTTP and does no pipe I/O.
//
// # A worker's life
//
//	starting -> idle <-> busy -> stopping -> gone
//	   |          ^----> leased
//	   +-> spare -^
//
// A worker belongs to the pool, to a session, or to one fresh call; a lease borrows it from the pool or a session, and
// the pool replaces what it has lent if a call ran in it. A spare belongs to nobody yet: whoever would start a worker
// takes a spare instead, if there is one, and the next spare is started behind it.
//
// A pooled worker that dies is replaced at once; one that cannot start, or dies before its first use, is tried again after
// a jittered, growing backoff, one probe at a time. The worker of a session is not replaced: the session is lost, and says
// so until it is opened again.
//
// A pool has between MinWorkers and Workers. It grows when requests have waited for scaleWait, by one worker, then two,
// four and so on as long as that is not enough; it shrinks by one worker at a time, after idleness. A worker of the pool
// that has reached a limit of calls, age or memory is replaced: it serves until its replacement is ready, and a tenth of the
// pool is replaced at a time. Workers of sessions have no such limits, for a session is a process.
//
// Every worker runs a generation of the app's code. A reload brings up one worker of the next generation beside the pool.
// When it is ready all starts are of that generation, and older workers of the pool are replaced like those at a limit.
//
// A worker says what it offers, with schemas of the arguments that package argschema checks calls against: before they wait, and again
// when they have a worker of other code.
//
// # Locks
//
// There is one but for that of the catalogues, which is never held with it: Pool.mu. It guards the pool, its queue, leases and sessions, so that a snapshot is consistent and no
// lock order is needed. Decisions are made under it (methods that end in Locked); spawning, stopping, calling and
// waiting happen without it. Workers' own locks are leaves: a worker never calls back into the pool.
//
// # Goroutines
//
// All are started with Pool.mu held and after the closed check, and Close waits for all of them.
//
//   - janitor: one; expires leases and sessions, looks for workers that are too old or idle, and ticks for the liveness
//     probe. Ends with the pool's context.
//   - measure: one, if memory is limited; looks at the memory of workers. Ends with the pool's context.
//   - start: one for each starting worker; ends when the worker is ready or dead, which the context hastens.
//   - begin: one for each session that took a spare, while its start hook runs.
//   - retire: one for each generation that is over; ends when Config.Retire returns.
//   - watch: one for each live worker; ends with its process.
//   - stop: one for each stopping worker; ends after the grace at the latest.
//
// A request runs in the goroutine of its caller, and one that measures workers in a few more, for which it waits. A request's
// context ends its wait, never a spawn.
package poolsvc
