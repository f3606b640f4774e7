package main

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"charmer/poolsvc"
	"charmer/workerproc"
)

// worker answers the command echo with its argument value, in the goroutine that asks.
type worker struct {
	id   uint64
	done chan struct{}
	end  sync.Once
}

var _ poolsvc.Worker = (*worker)(nil)

// Call gives back the value.
func (w *worker) Call(_ context.Context, c *workerproc.Call) (workerproc.Reply, error) {
	var args struct {
		Value jsontext.Value `json:"value"`
	}
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return workerproc.Reply{}, &workerproc.CommandError{Message: err.Error()}
	}
	return workerproc.Reply{Result: args.Value}, nil
}

// Commands says that there is echo.
func (w *worker) Commands() []workerproc.Command {
	return []workerproc.Command{{Name: "echo", Isolation: workerproc.IsolationShared,
		Parameters: []workerproc.Parameter{{Name: "value", Required: true}}}}
}

// Stop ends the worker.
func (w *worker) Stop(time.Duration) workerproc.Exit {
	w.Kill()
	return w.Exit()
}

// Kill ends the worker.
func (w *worker) Kill() { w.end.Do(func() { close(w.done) }) }

// Healthy reports whether the worker has not ended.
func (w *worker) Healthy() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

// TakesAhead says that nothing waits in this worker.
func (w *worker) TakesAhead() bool { return false }

// Withdraw has nothing to take back.
func (w *worker) Withdraw() {}

// PID is that of this process.
func (w *worker) PID() int { return os.Getpid() }

// Done is closed when the worker has ended.
func (w *worker) Done() <-chan struct{} { return w.done }

// Exit says that it was stopped.
func (w *worker) Exit() workerproc.Exit { return workerproc.Exit{Cause: workerproc.CauseStopped} }

// HasHook says that there is none.
func (w *worker) HasHook(string) bool { return false }

// ReadyAfter is no time at all.
func (w *worker) ReadyAfter() time.Duration { return 0 }

// StartMethod is the one of charmer that comes closest.
func (w *worker) StartMethod() string { return "fork" }

// Phases are those of a start that takes no time.
func (w *worker) Phases() workerproc.Phases { return workerproc.Phases{} }

// Stack is empty.
func (w *worker) Stack() string { return "" }

// Usage is nothing: the worker is no process.
func (w *worker) Usage() (workerproc.Usage, error) { return workerproc.Usage{}, nil }
