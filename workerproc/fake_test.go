package workerproc

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fake is a worker in Go, run in a process of its own by the test binary. How it starts is said by the environment
// (fakeStarts), what it does in a call by the command (fakeCommands).
type fake struct {
	in  *bufio.Reader
	out *os.File
}

// fakeCall is a CALL that a fake has read.
type fakeCall struct {
	id      uint32
	body    string
	Command string          `json:"command"`
	Hook    string          `json:"hook"`
	Args    json.RawMessage `json:"args"`
}

func runFake(start func(*fake)) {
	f := &fake{in: bufio.NewReaderSize(os.NewFile(3, "calls"), 64<<10), out: os.NewFile(4, "replies")}
	start(f)
	for {
		frame, err := f.next()
		if err != nil || frame.Kind == KindStop {
			os.Exit(0)
		}
		call := fakeCall{id: frame.ID, body: string(frame.Body)}
		if err := json.Unmarshal(frame.Body, &call); err != nil {
			f.die("envelope: %v", err)
		}
		command := fakeCommands[call.Command+call.Hook]
		if command == nil {
			f.send(KindError, call.id, `{"kind":"unknown_command","message":"no such command"}`)
			continue
		}
		command(f, call)
	}
}

// next reads the next frame. Its error is io.EOF at the end of input.
func (f *fake) next() (Frame, error) {
	frame, err := ReadFrame(f.in, 64<<20)
	if err == io.EOF {
		if mark := os.Getenv("FAKE_MARK"); mark != "" {
			_ = os.WriteFile(mark, []byte("end of input"), 0o644)
		}
		return frame, err
	}
	if err != nil {
		f.die("read: %v", err)
	}
	return frame, nil
}

func (f *fake) send(kind Kind, id uint32, body string) {
	f.raw(string(AppendFrame(nil, Frame{Kind: kind, ID: id, Body: []byte(body)})))
}

func (f *fake) raw(bytes string) {
	if _, err := f.out.WriteString(bytes); err != nil {
		f.die("write: %v", err)
	}
}

// result answers with value as JSON.
func (f *fake) result(c fakeCall, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		f.die("result: %v", err)
	}
	f.send(KindResult, c.id, string(body))
}

func (f *fake) log(id uint32, message string) {
	f.send(KindLog, id, fmt.Sprintf(`{"level":"info","stream":"stdout","message":%q}`, message))
}

// halfResult writes the beginning of a RESULT.
func (f *fake) halfResult(c fakeCall) {
	whole := AppendFrame(nil, Frame{Kind: KindResult, ID: c.id, Body: []byte(`"a result that is cut off"`)})
	f.raw(string(whole[:len(whole)/2]))
}

func (f *fake) hello(more string) {
	f.send(KindHello, 0, fmt.Sprintf(`{"protocol":1,"pid":%d,"runtime":"fake","language":"Go"%s}`, os.Getpid(), more))
}

func (f *fake) ready() {
	f.send(KindReady, 0, `{"commands":[{"name":"echo"}],"hooks":["session_end"]}`)
}

// die ends a fake that cannot do its part; the test sees code and text.
func (f *fake) die(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "fake worker: "+format+"\n", args...)
	os.Exit(99)
}

// forever lets the fake do nothing until it is killed.
func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

func killSelf(sig syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), sig)
	forever()
}

// segfault becomes a process that dies of a segmentation fault; Go's own runtime would exit instead.
func segfault() {
	_ = syscall.Exec("/bin/sh", []string{"sh", "-c", "ulimit -c 0; kill -SEGV $$"}, os.Environ())
	os.Exit(99)
}

// grandchild starts a process that holds the worker's descriptors and ignores what is to end it, and returns its number
// when it is up.
func (f *fake) grandchild(attr *syscall.SysProcAttr) int {
	r, w, err := os.Pipe()
	if err != nil {
		f.die("pipe: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		f.die("executable: %v", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fakeVar+"=grandchild")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdout, os.Stderr, attr
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "calls"), f.out, w}
	if err := cmd.Start(); err != nil {
		f.die("grandchild: %v", err)
	}
	if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
		f.die("grandchild: %v", err)
	}
	return cmd.Process.Pid
}

func beGrandchild() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	_, _ = os.NewFile(5, "up").WriteString("up")
	forever()
}

// fSetSig is F_SETSIG of Linux, named here so that these files compile elsewhere too.
const fSetSig = 10

// armLifeline does what docs/protocol.md, section 6, asks of a worker.
func (f *fake) armLifeline() {
	fd, err := unix.Open("/proc/self/fd/6", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		f.die("lifeline: %v", err)
	}
	own := uintptr(fd)
	for _, step := range []struct{ cmd, arg int }{
		{unix.F_SETOWN, -os.Getpid()}, {fSetSig, int(unix.SIGKILL)}, {unix.F_SETFL, unix.O_NONBLOCK | unix.O_ASYNC},
	} {
		if _, err := unix.FcntlInt(own, step.cmd, step.arg); err != nil {
			f.die("lifeline: %v", err)
		}
	}
	polled := []unix.PollFd{{Fd: int32(fd)}}
	if n, err := unix.Poll(polled, 0); err != nil || n > 0 {
		f.die("lifeline has ended: %v", err)
	}
}

// dripSignal answers signal 39 with a dump that never ends and never pauses for long.
func (f *fake) dripSignal() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.Signal(39))
	go func() {
		stack := os.NewFile(7, "stack")
		for <-got; ; time.Sleep(5 * time.Millisecond) {
			_, _ = stack.WriteString("x")
		}
	}()
	f.hello(`,"stack_signal":39`)
}

// answerSignal writes a dump to descriptor 7 at each signal 39, and announces that in HELLO.
func (f *fake) answerSignal() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.Signal(39))
	go func() {
		stack := os.NewFile(7, "stack")
		for range got {
			_, _ = stack.WriteString("Thread 1:\n  in hang \xff\n")
		}
	}()
	f.hello(`,"stack_signal":39`)
}
