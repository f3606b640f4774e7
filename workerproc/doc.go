// Package workerproc runs one Python process: it spawns it, speaks the frames of docs/protocol.md with it, carries
// calls by id, and tells how it ended. It knows nothing of pools or HTTP.
//
// A [Spawner] starts processes and holds what they share: the Python runtime on disk and the lifeline. A [Worker] is
// one process that has said READY. Whatever the guest does, a Worker answers each call once: with a [Reply], with a
// [*CommandError] (Python raised, the worker is healthy), or with one of [*CrashError], [*ProtocolError] and
// [*TimeoutError], after which the process is dead.
//
// Each worker has four goroutines, all ended by the death of the process: one reads frames, two read descriptors 1
// and 2, and one waits for the death, kills what is left of the process group, and answers the calls still open.
// [Worker.Done] is closed when all four are through.
package workerproc
