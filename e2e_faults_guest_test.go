package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// guest is something that user code does, and the one true answer to it.
type guest struct {
	name, command, args string
	check               func(*testing.T, answer)
}

func returned(result string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) { t.Helper(); a.wantResult(t, result) }
}

// raised wants the call to have failed with an exception of this type, and part in the detail.
func raised(kind, part string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		a.wantProblem(t, http.StatusUnprocessableEntity, "command_failed", true)
		if a.Problem.Exception == nil || a.Problem.Exception.Type != kind {
			t.Errorf("exception %s, want type %q", asJSON(a.Problem.Exception), kind)
		}
		wantPart(t, "detail", a.Problem.Detail, part)
	}
}

// refusedResult wants the call to have failed because JSON cannot carry what it returned, with the place named and what
// encoding it raised.
func refusedResult(kind, part string) func(*testing.T, answer) { return raised(kind, part) }

// crashedBy wants the worker to have died of a signal, with part in the last lines of its standard error.
func crashedBy(signal syscall.Signal, part string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		a.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
		a.wantSignal(t, signal)
		wantLine(t, "stderr_tail", a.Problem.StderrTail, part)
	}
}

// crashedWith wants the worker to have ended with an exit code.
func crashedWith(code int64, part string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		a.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
		a.wantExitCode(t, code)
		if part != "" {
			wantLine(t, "stderr_tail", a.Problem.StderrTail, part)
		}
	}
}

// survived are guests whose worker lives on.
var survived = []guest{
	{"prints", "prints", `{}`, returned(`"printed"`)},
	{"writes to descriptor 1 from C and from a child", "writes_to_descriptor_1", `{}`, returned(`"written"`)},
	{"floods standard error without a newline", "floods", `{}`, returned(`"flooded"`)},
	{"closes descriptors 0 to 2", "closes_descriptors", `{}`, returned(`"closed"`)},
	{"sets its streams to None", "sets_streams", `{"to":"none"}`, returned(`"set"`)},
	{"deletes its streams", "sets_streams", `{"to":"deleted"}`, returned(`"set"`)},
	{"closes its streams", "sets_streams", `{"to":"closed"}`, returned(`"set"`)},
	{"redirects its streams", "sets_streams", `{"to":"memory"}`, returned(`"set"`)},
	{"recurses without end", "recurses", `{"how":"python"}`, raised("RecursionError", "maximum recursion depth")},
	{"recurses in repr", "recurses", `{"how":"repr"}`, raised("RecursionError", "maximum recursion depth")},
	{"recurses in the text of an exception", "recurses", `{"how":"str of the exception"}`, raised("ValueError", "<str() of this ValueError fails>")},
	{"recurses in json", "recurses", `{"how":"json"}`, raised("RecursionError", "maximum recursion depth")},
	{"returns what is nested too deep", "recurses", `{"how":"deep"}`, refusedResult("RecursionError", "levels deep")},
	{"leaves a grandchild that ignores SIGTERM and holds the pipes", "leaves_a_grandchild", `{}`, func(t *testing.T, a answer) {
		if pid, err := strconv.Atoi(a.Result); err != nil || syscall.Kill(pid, 0) != nil {
			t.Errorf("got %d %s, want the process id of a live grandchild", a.status, a.Result)
		}
	}},
	{"forks and returns twice", "forks_and_returns_twice", `{}`, returned(`"the parent"`)},
	{"forks and raises in the child", "forks_and_raises", `{}`, returned(`"the parent"`)},
	{"installs signal handlers that print, and a timer", "installs_handlers", `{}`, returned(`"installed"`)},
	{"starts threads that never end", "starts_threads", `{}`, returned(`"started"`)},
	{"changes into a directory that is gone", "changes_directory", `{}`, returned(`"changed"`)},
	{"raises KeyboardInterrupt", "raises", `{"what":"KeyboardInterrupt"}`, raised("KeyboardInterrupt", "")},
	{"raises GeneratorExit", "raises", `{"what":"GeneratorExit"}`, raised("GeneratorExit", "")},
	{"raises a BaseException of its own", "raises", `{"what":"Rude"}`, raised("app.Rude", "rude")},
	{"raises an exception that has no text", "raises", `{"what":"Mute"}`, raised("app.Mute", "<str() of this app.Mute fails>")},
	{"raises StopIteration", "raises", `{"what":"StopIteration"}`, raised("StopIteration", "1")},
	{"raises MemoryError", "raises", `{"what":"MemoryError"}`, raised("MemoryError", "")},
	{"raises a lone surrogate", "raises", `{"what":"surrogate"}`, raised("ValueError", `\ud800`)},
	{"raises three million characters", "raises", `{"what":"long"}`, raised("ValueError", "bytes cut")},
	{"returns NaN", "returns", `{"what":"nan"}`, refusedResult("ValueError", "result.rows[1] is nan")},
	{"returns Infinity", "returns", `{"what":"infinity"}`, refusedResult("ValueError", "result.rows[1] is -inf")},
	{"returns a complex number", "returns", `{"what":"complex"}`, refusedResult("TypeError", "result.rows[1] is a complex")},
	{"returns a cycle", "returns", `{"what":"cycle"}`, refusedResult("ValueError", "result.rows[1].in[0] refers back to result.rows[1]")},
	{"returns an object", "returns", `{"what":"object"}`, refusedResult("TypeError", "result.rows[1] is an object")},
	{"returns a lone surrogate", "returns", `{"what":"surrogate"}`, refusedResult("UnicodeEncodeError", `result.rows[1] has a lone surrogate (\ud800 at 1)`)},
	{"returns an int of 5000 digits", "returns", `{"what":"digits"}`, refusedResult("ValueError", "result.rows[1] is an int of 16610 bits")},
	{"returns bytes", "returns", `{"what":"bytes"}`, returned(`{"rows":[0,"eA=="]}`)},
	{"returns a module", "returns", `{"what":"module"}`, refusedResult("TypeError", "result.rows[1] is a module")},
	{"returns a generator", "returns", `{"what":"generator"}`, refusedResult("TypeError", "result.rows[1] is a generator")},
	{"returns a key that JSON has not", "returns", `{"what":"key"}`, refusedResult("TypeError", "result.rows[1] has a key that is a tuple")},
	{"breaks json", "breaks", `{"what":"json"}`, returned(`"broken"`)},
	{"breaks the JSON encoder", "breaks", `{"what":"the encoder"}`, returned(`"broken"`)},
	{"breaks os", "breaks", `{"what":"os"}`, returned(`"broken"`)},
	{"breaks time", "breaks", `{"what":"time"}`, returned(`"broken"`)},
	{"breaks threading", "breaks", `{"what":"threading"}`, returned(`"broken"`)},
	{"breaks logging", "breaks", `{"what":"logging"}`, returned(`"broken"`)},
	{"breaks traceback", "breaks", `{"what":"traceback"}`, returned(`"broken"`)},
	{"deletes all modules", "breaks", `{"what":"modules"}`, returned(`"broken"`)},
	{"stops the collector", "breaks", `{"what":"collector"}`, returned(`"broken"`)},
	{"lowers the recursion limit", "breaks", `{"what":"recursion limit"}`, returned(`"broken"`)},
	{"breaks hooks", "breaks", `{"what":"hooks"}`, returned(`"broken"`)},
	{"multiprocesses by fork", "multiprocesses", `{"method":"fork"}`, returned(`[1,4,9]`)},
	{"multiprocesses by spawn", "multiprocesses", `{"method":"spawn"}`, returned(`[1,4,9]`)},
	{"runs a program", "runs_a_program", `{}`, returned(`"through a pipe"`)},
	{"runs out of memory", "runs_out_of_memory", `{}`, raised("MemoryError", "")},
}

// TestTheGuestMayDoAnythingThatItsWorkerSurvives runs each guest on a worker of its own, sees that the same worker then
// answers as if nothing had been, and that nothing is left of it when it is replaced.
func TestTheGuestMayDoAnythingThatItsWorkerSurvives(t *testing.T) {
	s := serve(t, guests, "--stop-grace=300ms", "--checkout-timeout=60s", "--lease-reuse")
	s.full(2)
	for _, row := range survived {
		t.Run(row.name, func(t *testing.T) {
			s := s.in(t)
			lease := s.lease()
			on := onLease(lease.LeaseID)
			row.check(t, s.execute(row.command, row.args, on, patiently))
			s.execute("echoes", `{"value":{"a":[1,2.5,null,true,"ß"]}}`, on, patiently).wantResult(t, `{"a":[1,2.5,null,true,"ß"]}`)
			raised("ValueError", "as told")(t, s.execute("fails", `{"text":"as told"}`, on, patiently))
			refusedResult("ValueError", "result.rows[1]")(t, s.execute("returns", `{"what":"nan"}`, on, patiently))
			s.execute("echoes", `{"wrong":1}`, on, patiently).wantProblem(t, http.StatusBadRequest, "invalid_args", false)
			last := s.execute("ping", `{"n":17}`, on, patiently)
			last.wantResult(t, "17")
			if last.Worker.PID != lease.Worker.PID {
				t.Errorf("answered by worker %d, want %d", last.Worker.PID, lease.Worker.PID)
			}
			s.release(lease)
			s.whole()
			s.replace(lease.Worker)
		})
	}
	s.wantHeard(t, map[string]string{
		"on stdout": "stdout", "on stderr": "stderr", "a line without end": "stdout", "bytes \\xff": "stdout",
		"from os.write": "stdout", "from C": "stdout", "from stdio": "stdout", "from a child": "stdout", "from a grandchild": "stderr",
		"after the flood of descriptor 2": "stderr", "after the flood of sys.stderr": "stderr", "a thread talks": "stdout",
	})
	if cut := s.log.lines(func(l logLine) bool { return strings.Contains(fmt.Sprint(l["msg"]), "bytes cut") }); len(cut) < 3 {
		t.Errorf("%d lines were cut, want those of prints and of the two floods", len(cut))
	}
	if exits := s.stats().WorkerExits; exits["crash"]+exits["signal"]+exits["protocol"]+exits["timeout"]+exits["exiting"] != 0 {
		t.Errorf("exits: %v, want none but recycled workers", exits)
	}
}

// wantHeard fails the test unless each of these lines is in the log, from its stream.
func (s *instance) wantHeard(t *testing.T, streams map[string]string) {
	t.Helper()
	for text, stream := range streams {
		s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == text && l["stream"] == stream })
	}
}

// TestTheGuestMayEndItsWorkerInAnyWay runs each guest on the pool: its own call says what became of the worker, the pool
// is whole again, and nothing is left of the worker.
func TestTheGuestMayEndItsWorkerInAnyWay(t *testing.T) {
	s := serve(t, guests, "--checkout-timeout=60s")
	s.full(2)
	for _, row := range []guest{
		{"os._exit", "ends", `{"how":"_exit","code":3}`, crashedWith(3, "its end is near")},
		{"os._exit with 0", "ends", `{"how":"_exit"}`, crashedWith(0, "its end is near")},
		{"sys.exit", "ends", `{"how":"sys.exit","code":3}`, raised("SystemExit", "3")},
		{"sys.exit with text", "ends", `{"how":"sys.exit with text"}`, raised("SystemExit", "good bye")},
		{"a segfault", "ends", `{"how":"segfault"}`, crashedBy(syscall.SIGSEGV, "Segmentation fault")},
		{"the place of a segfault", "ends", `{"how":"segfault"}`, crashedBy(syscall.SIGSEGV, fmt.Sprintf("line %d in ends", lineOf(t, guests, "ctypes.string_at(0)")))},
		{"abort", "ends", `{"how":"abort"}`, crashedBy(syscall.SIGABRT, "its end is near")},
		{"SIGKILL of itself", "ends", `{"how":"kill","code":9}`, crashedBy(syscall.SIGKILL, "its end is near")},
		{"SIGKILL of its group", "ends", `{"how":"kill the group","code":9}`, crashedBy(syscall.SIGKILL, "its end is near")},
		{"becoming another program", "ends", `{"how":"exec","code":4}`, crashedWith(4, "its end is near")},
		{"closing all descriptors", "closes_everything", `{"reopen":false}`, crashedWith(70, "")},
		{"closing all descriptors and opening files in their place", "closes_everything", `{"reopen":true}`, crashedWith(0, "")},
		{"dying with a stubborn child", "dies_and_leaves", fmt.Sprintf(`{"dir":%q,"daemon":false}`, t.TempDir()), crashedWith(3, "")},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := s.in(t)
			a := s.execute(row.command, row.args, patiently)
			row.check(t, a)
			s.gone(a.ranOn(t).PID)
			s.whole()
		})
	}
}

// TestADaemonThatHoldsThePipesDelaysNoAnswer has the worker die while a process that left its group keeps its pipes
// open, and is ended a moment later.
func TestADaemonThatHoldsThePipesDelaysNoAnswer(t *testing.T) {
	s := serve(t, guests)
	s.full(2)
	dir := t.TempDir()
	a := s.execute("dies_and_leaves", fmt.Sprintf(`{"dir":%q,"daemon":true}`, dir))
	left := glob(t, dir, "left *")
	if len(left) != 1 {
		t.Fatalf("left behind: %q", left)
	}
	_, pid, _ := strings.Cut(left[0], "left ")
	daemon, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	crashedWith(3, "")(t, a)
	s.gone(a.ranOn(t).PID)
	s.gone(int64(daemon))
	s.whole()
}

func TestAWorkerThatStopsItselfIsKilledAtTheTimeout(t *testing.T) {
	s := serve(t, guests)
	for _, args := range []string{`{"group":false}`, `{"group":true}`} {
		s.full(2)
		a := s.execute("stops_itself", args, within(1500))
		a.wantProblem(t, http.StatusGatewayTimeout, "execution_timeout", true)
		a.wantSignal(t, syscall.SIGKILL)
		s.gone(a.ranOn(t).PID)
		s.whole()
	}
}

// TestAStoppedIdleWorkerIsFoundByTheNextCall stops a worker from outside, while nothing runs in it.
func TestAStoppedIdleWorkerIsFoundByTheNextCall(t *testing.T) {
	s := serve(t, guests, "--workers=1")
	s.full(1)
	pid := s.pidsOfWorkers()[0]
	s.stopProcess(pid)
	a := s.execute("ping", `{"n":1}`, within(1500))
	a.wantProblem(t, http.StatusGatewayTimeout, "execution_timeout", false) // it is still in the pipe
	s.gone(pid)
	s.full(1)
	s.execute("ping", `{"n":2}`).wantResult(t, "2")
}

// TestAnswersAreWholeWhileSignalHandlersPrint calls a worker whose timer interrupts it all the time, with frames that are
// larger than the pipe.
func TestAnswersAreWholeWhileSignalHandlersPrint(t *testing.T) {
	s := serve(t, guests, "--stop-grace=300ms", "--lease-reuse")
	s.full(2)
	lease := s.lease()
	on := onLease(lease.LeaseID)
	s.execute("installs_handlers", `{}`, on, patiently).wantResult(t, `"installed"`)
	for n := range 60 {
		text := `"` + strings.Repeat(string(rune('a'+n%26)), 1<<(n%20)) + `"`
		if a := s.execute("echoes", `{"value":`+text+`}`, on, patiently); a.status != http.StatusOK || a.Result != text {
			t.Fatalf("call %d: got %d with %d bytes, want %d: %+v", n, a.status, len(a.Result), len(text), a.Problem)
		}
	}
	s.release(lease)
	s.wantHeard(t, map[string]string{"signal 14": "stdout"})
	s.replace(lease.Worker)
}

// TestManyGuestsAtOnceHarmNobodyElse mixes calls that kill their worker with calls that do not.
func TestManyGuestsAtOnceHarmNobodyElse(t *testing.T) {
	s := serve(t, guests)
	s.full(2)
	var callers sync.WaitGroup
	for c := range 6 {
		callers.Go(func() {
			for n := range 12 {
				switch {
				case c == 0:
					crashedWith(int64(n), "its end is near")(t, s.execute("ends", fmt.Sprintf(`{"how":"_exit","code":%d}`, n), patiently))
				case c == 1 && n%3 == 0:
					raised("SystemExit", "")(t, s.execute("ends", `{"how":"sys.exit","code":1}`, patiently))
				default:
					s.execute("ping", fmt.Sprintf(`{"n":%d}`, 100*c+n), patiently).wantResult(t, strconv.Itoa(100*c+n))
				}
			}
		})
	}
	callers.Wait()
	s.whole()
}
