package handlers

import (
	"context"
	"errors"

	"charmer/poolsvc"
	"charmer/workerproc"
)

// variedWorker is a worker that has a command for each way in which a call can end.
type variedWorker struct{ *stubWorker }

// variedCommands are the commands of a variedWorker: what a call to each comes to, and arguments that fit.
var variedCommands = []struct {
	workerproc.Command
	args string
	ends error // nil if it returns its arguments
}{
	{Command: workerproc.Command{Name: "typed", ArgsSchema: []byte(`{"type":"object","properties":{"n":{"type":"integer","minimum":1,"maximum":9},` +
		`"how":{"enum":["air","sea"]}},"required":["n"],"additionalProperties":false}`)}, args: `{"n":1,"how":"sea"}`},
	{Command: workerproc.Command{Name: "any"}, args: `{"a":[null,"é",1.5]}`},
	{Command: workerproc.Command{Name: "größe.v1:x-y"}, args: `{}`},
	{Command: workerproc.Command{Name: "items", Stream: true}, args: `{}`},
	{Command: workerproc.Command{Name: "alone", Isolation: workerproc.IsolationFresh}, args: `{}`},
	{Command: workerproc.Command{Name: "raises"}, args: `{}`, ends: &workerproc.CommandError{Kind: workerproc.KindException, Type: "ValueError", Message: "m\x00\xff", Traceback: "t"}},
	{Command: workerproc.Command{Name: "chooses"}, args: `{}`, ends: &workerproc.CommandError{Kind: workerproc.KindCommandError, Type: "CommandError", Message: "", Code: "sold_out", Status: 409}},
	{Command: workerproc.Command{Name: "chooses wrongly"}, args: `{}`, ends: &workerproc.CommandError{Kind: workerproc.KindCommandError, Type: "CommandError", Message: "m", Code: "Not A Code", Status: 504}},
	{Command: workerproc.Command{Name: "refuses"}, args: `{}`, ends: &workerproc.CommandError{Kind: workerproc.KindInvalidArgs, Message: "m", Errors: []workerproc.ArgError{{Pointer: "/a", Detail: "d"}}}},
	{Command: workerproc.Command{Name: "too large"}, args: `{}`, ends: &workerproc.TooLargeError{Limit: 1}},
	{Command: workerproc.Command{Name: "waits"}, args: `{}`, ends: errWaits},
}

// errWaits stands for a call that goes on until it is ended.
var errWaits = errors.New("waits")

// withVaried has a pool start workers of that kind, which tell began when a call waits.
func withVaried(began chan<- struct{}) func(*poolsvc.Config) {
	return func(cfg *poolsvc.Config) {
		cfg.Spawn = func(_ context.Context, _ int, id uint64, _ func(int, string)) (poolsvc.Worker, error) {
			return waitingWorker{variedWorker{&stubWorker{pid: 1000 + int(id), done: make(chan struct{})}}, began}, nil
		}
	}
}

// waitingWorker tells when a call waits.
type waitingWorker struct {
	variedWorker
	began chan<- struct{}
}

func (w waitingWorker) Call(ctx context.Context, c *workerproc.Call) (workerproc.Reply, error) {
	for _, command := range variedCommands {
		switch {
		case command.Name != c.Command:
		case command.ends == errWaits:
			select {
			case w.began <- struct{}{}:
			default:
			}
			<-ctx.Done()
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return workerproc.Reply{}, &workerproc.TimeoutError{Step: workerproc.StepCancelled, Stack: "in wait", Started: true}
			}
			return workerproc.Reply{}, &workerproc.CancelledError{Why: context.Cause(ctx), Step: workerproc.StepCancelled, Started: true}
		case command.ends != nil:
			return workerproc.Reply{}, command.ends
		case len(c.Args) > 0:
			return workerproc.Reply{Result: c.Args}, nil
		}
	}
	return workerproc.Reply{Result: []byte("null")}, nil
}

func (variedWorker) Commands() (commands []workerproc.Command) {
	for _, command := range variedCommands {
		commands = append(commands, command.Command)
	}
	return commands
}
