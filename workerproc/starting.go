package workerproc

import (
	"strings"
	"sync"
	"time"
)

// Phases says where the time of a start went; together they are ReadyAfter.
type Phases struct {
	Spawn     time.Duration // until the process had said HELLO
	Import    time.Duration // of the app; 0 if the worker reported none, as a fork does, whose zygote has imported it
	Handshake time.Duration // on_start hooks, the description of the commands, and READY
}

// Phases returns where the time until READY went.
func (w *Worker) Phases() Phases {
	p := Phases{Spawn: w.clock.hello.Sub(w.spawnedAt), Import: w.clock.imported.Sub(w.clock.importing)}
	p.Handshake = max(0, w.readyAfter-p.Spawn-p.Import)
	return p
}

// startClock notes when the phases of a start began and ended. The reader of replies writes it, until READY.
type startClock struct{ hello, importing, imported time.Time }

// stage notes that the worker has reported a stage, or READY if it is empty.
func (c *startClock) stage(name string) {
	importing := strings.HasPrefix(name, "import ")
	switch {
	case importing && c.importing.IsZero():
		c.importing = time.Now()
	case !importing && !c.importing.IsZero() && c.imported.IsZero():
		c.imported = time.Now()
	}
}

// starting has what gives the stack of each worker that a Spawner is bringing up: the worker, or what it waits for.
type starting struct {
	mu      sync.Mutex // guards workers
	workers map[uint64]interface{ Stack() string }
}

// add puts a worker in, and returns what takes it out.
func (s *starting) add(id uint64, source interface{ Stack() string }) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers == nil {
		s.workers = map[uint64]interface{ Stack() string }{}
	}
	s.workers[id] = source
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.workers, id)
	}
}

// StartingStack returns the Stack of a worker that Spawn has not returned yet; while it waits for the zygote to import the
// app, that of the zygote. It returns "" if there is no such worker.
func (s *Spawner) StartingStack(id uint64) string {
	s.starting.mu.Lock()
	source := s.starting.workers[id]
	s.starting.mu.Unlock()
	if source == nil {
		return ""
	}
	return source.Stack()
}
