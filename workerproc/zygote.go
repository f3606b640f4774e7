package workerproc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// replyTime bounds a zygote's answer to a request. A fork takes milliseconds, a zygote that is stopped takes for ever.
const replyTime = 2 * time.Second

// errCannotFork means that a worker has to be exec'ed: there is no zygote, or it is dead, or was killed for not answering,
// or must not be forked.
var errCannotFork = errors.New("no zygote to fork")

// unfitError means that an app cannot be forked safely, and will not be better later.
type unfitError struct{ reason string }

func (e *unfitError) Error() string { return e.reason }

// zygote is a Python process that has imported the app and forks workers of it. Source: docs/protocol.md, section 8. Its
// goroutines, two that read output and one that waits for its death, end with the process.
type zygote struct {
	child     *child
	control   *net.UnixConn // one packet is one message
	output    output
	stackPipe *os.File
	stacks    stacks
	runtime   string
	limits    Limits // of memory alone: that which it has its workers have
	spawnedAt time.Time

	importTime time.Duration       // set before startZygote returns
	memory     int64               // bytes that the import took; the same
	refused    func(reason string) // told that it will not fork any more
	family     *Family
	turn       chan struct{} // holds one value while nobody has a request under way
	done       chan struct{} // closed when the process is dead and reaped
	late       int           // packets taken past the deadline, by whoever has the turn
	detail     string        // why it was killed, set by whoever has the turn
	cause      Cause         // the same
	exit       Exit          // set before done is closed
}

// zygoteMessage is a message of either side; Kind is that of the zygote's, Op that of a request.
type zygoteMessage struct {
	Op     string `json:"op,omitempty"`
	Worker uint64 `json:"worker,omitempty"`
	PID    int    `json:"pid,omitempty"`

	Kind        string  `json:"kind,omitempty"`
	Protocol    int     `json:"protocol,omitempty"`
	StackSignal int     `json:"stack_signal,omitempty"`
	Stage       string  `json:"stage,omitempty"`
	Type        string  `json:"type,omitempty"`
	Message     string  `json:"message,omitempty"`
	Traceback   string  `json:"traceback,omitempty"`
	Ms          float64 `json:"ms,omitempty"`
	ImportMs    float64 `json:"import_ms,omitempty"`
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
	Unfit       string  `json:"unfit,omitempty"`
	Detail      string  `json:"detail,omitempty"`
	Status      int     `json:"status,omitempty"`
}

// maxMessage is more than any message of a zygote has: two texts of an error, as the runtime bounds them.
const maxMessage = 512 << 10

// maxAnswer is more than an answer to a request has.
const maxAnswer = 8 << 10

// maxLatePackets bounds what is taken past a deadline from a zygote that goes on sending. No socket holds more, by default.
const maxLatePackets = 1000

// threadsTime bounds how long a zygote that has imported the app waits for threads: more than it does.
const threadsTime = 20 * time.Second

// startZygote starts a zygote and waits until it has imported the app, until ctx ends. It calls progress with the zygote and
// what the import is about, and waiting when that is over, and threads are to end which it has left. The error is an
// *unfitError, or a *StartError; the process is dead then.
func (s *Spawner) startZygote(ctx context.Context, progress func(z *zygote, stage string), waiting func()) (*zygote, error) {
	if ctx.Err() != nil {
		return nil, &StartError{Stage: "spawn zygote", Detail: ctx.Err().Error()}
	}
	z, err := s.launchZygote()
	if err != nil {
		return nil, &StartError{Stage: "spawn zygote", Detail: err.Error()}
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { _ = z.control.SetReadDeadline(time.Now()); close(ended) })
	stage, ready, err := z.awaitReady(func(stage string) { progress(z, stage) }, waiting)
	if !stop() {
		<-ended // the deadlines of requests come after it
	}
	if err == nil && ready.Unfit == "" {
		z.importTime = time.Duration(ready.ImportMs * float64(time.Millisecond))
		z.memory = ready.MemoryBytes
		z.turn <- struct{}{}
		return z, nil
	}
	stack := ""
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("start given up: %w", context.Cause(ctx))
		if context.Cause(ctx) == context.DeadlineExceeded {
			err = fmt.Errorf("not ready after %s", time.Since(z.spawnedAt).Round(10*time.Millisecond))
			stack = z.stacks.last(z.child, z.stackPipe, z.runtime)
		}
		z.kill("")
	}
	z.close()
	if err == nil {
		return nil, &unfitError{ready.Unfit}
	}
	return nil, &StartError{Stage: cmp.Or(ready.Stage, stage), Detail: err.Error(), Traceback: cmp.Or(ready.Traceback, stack), Exit: z.exit}
}

// launchZygote makes the process and begins to read its output.
func (s *Spawner) launchZygote() (*zygote, error) {
	ours, theirs, err := controlPair()
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
	conn, err := net.FileConn(ours)
	closeAll(ours)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	var p pipes
	if err := p.open(s.user); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer p.theirs.close()
	closeAll(p.ours.calls, p.ours.replies)
	cmd := exec.Command(s.cfg.Python, s.runtime, "zygote")
	cmd.Env = s.environ(methodFork)
	if s.cfg.AllowThreads {
		cmd.Env = append(cmd.Env, "CHARMER_WORKER_PRELOAD_THREADS=allow")
	}
	cmd.Stdout, cmd.Stderr = p.theirs.stdout, p.theirs.stderr
	cmd.ExtraFiles = []*os.File{theirs, nil, nil, s.lifeline, p.theirs.stack} // descriptors 3, (4), (5), 6, 7
	child, err := s.start(cmd)
	if err != nil {
		closeAll(p.ours.stdout, p.ours.stderr, p.ours.stack)
		return nil, errors.Join(err, conn.Close())
	}
	z := &zygote{child: child, control: conn.(*net.UnixConn), runtime: s.runtime, limits: Limits{Memory: s.cfg.Limits.Memory}, stackPipe: p.ours.stack, spawnedAt: time.Now(), family: s.family,
		output: output{log: s.cfg.Log.With("zygote", child.pid)}, turn: make(chan struct{}, 1), done: make(chan struct{})}
	var readers sync.WaitGroup
	readers.Go(func() { z.output.drain(&pipeReader{file: p.ours.stdout}, "stdout", noCall) })
	readers.Go(func() { z.output.drain(&pipeReader{file: p.ours.stderr}, "stderr", noCall) })
	go z.await(&readers, p.ours.stdout, p.ours.stderr) // ends with the process
	return z, nil
}

// await waits for the death of the zygote and gathers the evidence.
func (z *zygote) await(readers *sync.WaitGroup, outputs ...*os.File) {
	status := z.child.wait()
	for _, f := range outputs {
		_ = f.SetReadDeadline(time.Now().Add(drainTime)) // cannot fail on a pipe in the poller
	}
	readers.Wait()
	closeAll(append(outputs, z.stackPipe)...)
	z.exit = Exit{Cause: cmp.Or(z.cause, CauseCrash), Code: status.code, Signal: status.signal, Output: z.output.ring.output(), StderrTail: z.output.ring.stderrTail("")}
	z.exit.judge(z.limits, status.cpu)
	close(z.done)
}

// awaitReady reads messages up to the one that ends the start. It returns the last stage, and a last message that is a
// "ready", or an error with the message "error" if that was the reason.
func (z *zygote) awaitReady(progress func(string), waiting func()) (stage string, last zygoteMessage, err error) {
	stage = "spawn zygote"
	buf := make([]byte, maxMessage)
	for {
		m, fds, err := z.receive(buf)
		closeAll(fds...)
		if err != nil {
			return stage, m, err
		}
		switch m.Kind {
		case "hello":
			z.stacks.number.Store(int32(m.StackSignal))
			if m.Protocol != protocolVersion {
				return stage, m, fmt.Errorf("speaks protocol %d, not %d", m.Protocol, protocolVersion)
			}
		case "progress", "waiting":
			if m.Kind == "waiting" {
				waiting()
			}
			stage = clip(m.Stage, maxStage)
			progress(stage)
			z.output.log.Debug("zygote starting", "stage", stage, "ms", m.Ms, "memory_bytes", m.MemoryBytes)
		case "error":
			return stage, m, z.limits.startFailure(m.Type, m.Message)
		case "ready":
			return stage, m, nil
		default:
			return stage, m, fmt.Errorf("message %.32q before ready", m.Kind)
		}
	}
}

// close ends the zygote by ending its control socket, and kills it if it lives on. It returns when it is dead.
func (z *zygote) close() {
	_ = z.control.CloseWrite() // fails only if it has gone already
	timer := time.AfterFunc(exitLag, z.child.killGroup)
	defer timer.Stop()
	z.bury()
}

// bury waits until the zygote is dead, and closes the socket, which may still hold what it said last.
func (z *zygote) bury() {
	<-z.done
	_ = z.control.Close() // nothing was written that a failure could lose
}

// lastWords says how a dead zygote ended.
func (z *zygote) lastWords() string {
	if z.detail != "" {
		return z.detail + "; it " + z.exit.Reason
	}
	return "it " + z.exit.Reason
}

// fork has a worker forked whose ends of the pipes are theirs. The error is errCannotFork, or says why the system did not
// fork. A nil zygote cannot be forked.
func (z *zygote) fork(id uint64, theirs *ends) (*child, error) {
	if z == nil {
		return nil, errCannotFork
	}
	// In the order of docs/protocol.md, section 8.
	rights := unix.UnixRights(int(theirs.calls.Fd()), int(theirs.replies.Fd()), int(theirs.stdout.Fd()), int(theirs.stderr.Fd()), int(theirs.stack.Fd()), int(theirs.control.Fd()))
	m, fds, err := z.request(zygoteMessage{Op: "fork", Worker: id}, rights)
	if err != nil {
		return nil, err
	}
	if m.Kind == "forked" && len(fds) == 1 && m.PID > 0 {
		pidfd := fds[0]
		z.family.add(m.PID)
		return &child{pid: m.PID, death: func() error { return awaitPidfd(pidfd) }, reap: func() exitStatus { return z.reap(m.PID) }}, nil
	}
	closeAll(fds...)
	switch m.Kind {
	case "unfit":
		z.refused(m.Detail)
		return nil, errCannotFork
	case "failed":
		return nil, errors.New(m.Detail)
	default:
		z.kill(fmt.Sprintf("it answered %.32q to a fork", m.Kind))
		return nil, errCannotFork
	}
}

// kill ends a zygote that does not do what it must.
func (z *zygote) kill(why string) {
	z.detail, z.cause = why, CauseKilled // by whoever has the turn; read after the death
	z.child.killGroup()
}

// reap collects the status of a worker that has ended. That of a worker whose zygote died before it is had only if this
// process is a subreaper.
func (z *zygote) reap(pid int) exitStatus {
	defer z.family.remove(pid)
	m, fds, err := z.request(zygoteMessage{Op: "reap", PID: pid}, nil)
	closeAll(fds...)
	if err == nil && m.Kind == "reaped" {
		return statusOf(syscall.WaitStatus(m.Status))
	}
	z.child.killGroup()
	<-z.done // then its workers are children of this process
	status := reapOrphan(pid)
	z.family.endStrangers()
	return status
}

// request sends one message and returns the answer. A zygote that does not answer in time is killed. The error is
// errCannotFork.
func (z *zygote) request(m zygoteMessage, oob []byte) (zygoteMessage, []*os.File, error) {
	select {
	case <-z.turn:
		defer func() { z.turn <- struct{}{} }()
	case <-z.done:
		return zygoteMessage{}, nil, errCannotFork
	}
	body, err := json.Marshal(m)
	if err == nil {
		err = z.control.SetDeadline(time.Now().Add(replyTime))
	}
	if err == nil {
		_, _, err = z.control.WriteMsgUnix(body, oob, nil)
	}
	var answer zygoteMessage
	var fds []*os.File
	if err == nil {
		answer, fds, err = z.receive(make([]byte, maxAnswer))
	}
	switch {
	case err == nil:
		return answer, fds, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		z.kill(fmt.Sprintf("it did not answer within %s", replyTime))
	default:
		z.child.killGroup() // it is dead, or cannot be understood
	}
	return zygoteMessage{}, nil, errCannotFork
}

// packet reads one packet. Past the deadline it waits no more, but takes what is there: if this process was stopped, or the
// machine slept, the zygote may have answered long before.
func (z *zygote) packet(buf, oob []byte) (n, oobn, flags int, err error) {
	n, oobn, flags, _, err = z.control.ReadMsgUnix(buf, oob)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		z.late = 0
		return n, oobn, flags, err
	}
	if z.late++; z.late > maxLatePackets {
		return 0, 0, 0, err
	}
	conn, cerr := z.control.SyscallConn()
	if cerr != nil {
		return 0, 0, 0, err
	}
	var rerr error
	cerr = conn.Control(func(fd uintptr) { n, oobn, flags, rerr = takePacket(int(fd), buf, oob) })
	if cerr != nil || rerr != nil {
		return 0, 0, 0, err
	}
	return n, oobn, flags, nil
}

// receive reads one message and the descriptors that come with it.
func (z *zygote) receive(buf []byte) (zygoteMessage, []*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, err := z.packet(buf, oob)
	if err == nil && n == 0 || errors.Is(err, io.EOF) {
		err = errors.New("ended before it was ready")
	}
	if err != nil {
		return zygoteMessage{}, nil, err
	}
	fds, err := received(oob[:oobn])
	if err != nil {
		return zygoteMessage{}, nil, err
	}
	var m zygoteMessage
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("message of more than %d bytes", len(buf))
	} else if jerr := json.Unmarshal(buf[:n], &m); jerr != nil {
		err = fmt.Errorf("message: %v", jerr) // not wrapped: an end inside the text is no end of the stream
	}
	if err != nil {
		closeAll(fds...)
		return zygoteMessage{}, nil, err
	}
	return m, fds, nil
}

// received returns the descriptors of a control message.
func received(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			closeAll(files...)
			return nil, fmt.Errorf("control message: %w", err)
		}
		for _, fd := range fds {
			file, err := newPidfd(fd)
			if err != nil {
				closeAll(files...)
				return nil, err
			}
			files = append(files, file)
		}
	}
	return files, nil
}
