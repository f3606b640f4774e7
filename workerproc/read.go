package workerproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// run starts the goroutines of the worker. They end with the process.
func (w *Worker) run(progress func(stage string)) {
	w.stage = "spawn"
	w.oomKills = kernelOOMKills()
	w.readers.Go(func() { w.output.drain(w.stdout, "stdout", func(at int64) *Call { return w.onlyCall("stdout", at) }) })
	w.readers.Go(func() { w.output.drain(w.stderr, "stderr", func(at int64) *Call { return w.onlyCall("stderr", at) }) })
	w.readers.Go(func() { w.readReplies(progress) })
	go w.reap() // ends with the process, and closes done
}

// readReplies reads frames until the worker ends or breaks the protocol.
func (w *Worker) readReplies(progress func(string)) {
	err := w.readHandshake(progress)
	w.started <- err
	for wide := false; err == nil; {
		var f Frame
		if f, err = ReadFrame(w.out, w.maxFrame); err == nil {
			err = w.handle(f)
		}
		if !wide && len(f.Body) > largeFrame { // for the next one
			wide = true
			widen(w.replies)
		}
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		// Its own doing, unless a signal turns out to have cut it off.
		w.mu.Lock()
		w.detail = "ended inside a frame"
		w.mu.Unlock()
		fallthrough
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errRefused):
		// It is ending, or has lost its own pipe and will not answer any more.
		w.mu.Lock()
		w.mute = true
		w.caughtUpLocked()
		w.mu.Unlock()
		time.AfterFunc(exitLag, w.endMute)
	default:
		w.kill(CauseProtocol, err.Error())
	}
}

// endMute ends a process that lives on though it will not answer any more, unless it is in the grace of its stop.
func (w *Worker) endMute() {
	w.mu.Lock()
	if w.cause == CauseStopped {
		w.mu.Unlock()
		return
	}
	w.forced = true
	w.mu.Unlock()
	w.child.killGroup()
}

// errRefused means that the worker said before READY that it cannot start.
var errRefused = errors.New("the worker refused to start")

// readHandshake reads frames up to READY.
func (w *Worker) readHandshake(progress func(string)) error {
	greeted := false
	for {
		f, err := ReadFrame(w.out, w.maxFrame)
		if err != nil {
			return endedEarly(err, greeted)
		}
		switch {
		case f.Kind == KindHello && !greeted:
			greeted = true
			err = w.handleHello(f)
		case f.Kind == KindProgress && greeted:
			err = w.handleProgress(f, progress)
		case f.Kind == KindLog && greeted:
			err = w.handleLog(f)
		case f.Kind == KindError && greeted && f.ID == 0:
			return w.handleRefusal(f)
		case f.Kind == KindReady && greeted:
			w.clock.stage("")
			w.ready, err = w.offers.decode(f)
			return err
		default:
			err = fmt.Errorf("%s with id %d before READY", f.Kind, f.ID)
		}
		if err != nil {
			return err
		}
	}
}

// endedEarly makes a sentence of an end of input before READY.
func endedEarly(err error, greeted bool) error {
	switch {
	case err == io.ErrUnexpectedEOF:
		return fmt.Errorf("ended inside a frame: %w", err)
	case err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case greeted:
		return fmt.Errorf("ended before it said READY: %w", err)
	default:
		return fmt.Errorf("ended before it said HELLO: %w", err)
	}
}

func (w *Worker) handleHello(f Frame) error {
	body, err := decodeBody[Hello](f)
	if err == nil && body.Protocol != protocolVersion {
		err = fmt.Errorf("speaks protocol %d, not %d", body.Protocol, protocolVersion)
	}
	if err != nil {
		return err
	}
	w.clock.hello = time.Now()
	w.stacks.number.Store(int32(body.StackSignal))
	w.mu.Lock()
	w.hello = body
	w.mu.Unlock()
	return nil
}

func (w *Worker) handleProgress(f Frame, progress func(string)) error {
	body, err := decodeBody[progressBody](f)
	if err != nil {
		return err
	}
	stage := clip(body.Stage, maxStage)
	w.clock.stage(stage)
	w.mu.Lock()
	w.stage = stage
	w.mu.Unlock()
	progress(stage)
	return nil
}

func (w *Worker) handleRefusal(f Frame) error {
	body, err := decodeBody[errorBody](f)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.refusal = body
	w.mu.Unlock()
	return errRefused
}

// handle acts on one frame after READY. An error poisons the worker.
func (w *Worker) handle(f Frame) error {
	switch f.Kind {
	case KindResult:
		if err := checkJSON(f.Body); err != nil {
			return err
		}
		return w.answer(f.ID, Reply{Result: f.Body}, nil, false)
	case KindError:
		body, err := decodeBody[errorBody](f)
		if err != nil {
			return err
		}
		failure, err := body.commandError()
		if err != nil {
			return err
		}
		if failure.Kind == kindCancelled {
			return w.givenUp(f.ID, failure, body.Started == nil || *body.Started)
		}
		w.limits.explain(failure)
		return w.answer(f.ID, Reply{}, failure, body.Exiting)
	case KindChunk:
		if err := checkJSON(f.Body); err != nil {
			return err
		}
		return w.withOpen(f, func(open *openCall) error {
			if !open.request.Events.chunk(f.Body) {
				return fmt.Errorf("CHUNK of call %d, which has no credit for it", open.id)
			}
			return nil
		})
	case KindProgress:
		body, err := decodeBody[Progress](f)
		if err != nil {
			return err
		}
		var tell func(Progress)
		err = w.withOpen(f, func(open *openCall) error {
			open.request.Events.progress(&body)
			tell = open.request.Progress
			return nil
		})
		if tell != nil {
			tell(body)
		}
		return err
	case KindPong:
		return w.pulse.pong(f)
	case KindLog:
		return w.handleLog(f)
	default:
		return fmt.Errorf("%s with id %d after READY", f.Kind, f.ID)
	}
}

// commandError returns the error that a caller of a healthy worker sees.
func (b errorBody) commandError() (*CommandError, error) {
	kind := CommandErrorKind(b.Kind)
	switch kind {
	case KindException, KindCommandError, KindBadResult, KindInvalidArgs, KindUnknownCommand, kindCancelled:
		return &CommandError{Kind: kind, Type: b.Type, Message: b.Message, Traceback: b.Traceback,
			Code: b.Code, Status: b.Status, Errors: b.Errors}, nil
	default:
		return nil, fmt.Errorf("ERROR of unknown kind %.64q", b.Kind)
	}
}

// withOpen acts on a frame of an open call.
func (w *Worker) withOpen(f Frame, act func(*openCall) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	open, ok := w.calls[f.ID]
	if !ok {
		return fmt.Errorf("%s with id %d, of a call that is not open", f.Kind, f.ID)
	}
	return act(open)
}

// givenUp answers a call that the worker has given up because it was cancelled.
func (w *Worker) givenUp(id uint32, failure *CommandError, started bool) error {
	w.mu.Lock()
	open, ok := w.calls[id]
	var err error
	if ok {
		err = open.cancelledLocked(failure, started)
	}
	w.mu.Unlock()
	if ok && err == nil {
		return fmt.Errorf("call %d was given up, and nobody had cancelled it", id)
	}
	return w.answer(id, Reply{}, err, false)
}

// answer gives the call id its answer. Once the worker is being killed the answer comes too late and is dropped.
func (w *Worker) answer(id uint32, reply Reply, err error, exiting bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	open, ok := w.calls[id]
	if !ok {
		return fmt.Errorf("answer to call %d, which is not open", id)
	}
	if exiting && w.cause == "" {
		w.cause = CauseExiting
	}
	if w.cause != "" && w.cause != CauseStopped && w.cause != CauseExiting {
		return nil
	}
	delete(w.calls, id)
	now := time.Now()
	reply.Waited = max(0, w.lastAnswer.Sub(open.sent))
	w.lastAnswer = now
	open.reply, open.err = reply, err
	close(open.done)
	if next := w.headLocked(); next != nil && next.packet {
		w.isNextLocked(next)
	}
	return nil
}

func (w *Worker) handleLog(f Frame) error {
	body, err := decodeBody[logBody](f)
	if err != nil {
		return err
	}
	line := Line{Stream: body.Stream, Level: body.Level, Logger: body.Logger, Message: body.Message}
	var call *Call
	w.mu.Lock()
	if open, ok := w.calls[f.ID]; ok {
		call = open.request
		if body.Event {
			open.request.Events.log(line)
		}
	}
	w.mu.Unlock()
	w.output.line(line, call)
	return nil
}

// onlyCall returns the open call if there is exactly one, or the one whose turn it is, and if what stands at position at of the stream can be its
// output: the pipe may still hold what the call before it has left there.
func (w *Worker) onlyCall(stream string, at int64) *Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	open := w.headLocked()
	if open == nil || stream == "stdout" && at < open.stdout || stream == "stderr" && at < open.stderr {
		return nil
	}
	return open.request
}

// reap waits for the death of the process, gathers the evidence, and answers what is still open.
func (w *Worker) reap() {
	status := w.child.wait()
	w.mu.Lock()
	w.dead = true // before the deadline, which nobody takes back then
	w.mu.Unlock()
	deadline := time.Now().Add(drainTime)
	for _, f := range []*os.File{w.replies, w.stdout.file, w.stderr.file} {
		_ = f.SetReadDeadline(deadline) // cannot fail on a pipe in the poller
	}
	w.readers.Wait()
	unread := pipeReader{file: unreadEnd(w.in)}
	closeAll(w.in, w.packets, w.replies, w.stdout.file, w.stderr.file, w.stackPipe)
	w.control.close()
	w.frames.settle() // then it is known what the worker may have read
	w.frames.discount(unread.written())
	closeAll(unread.file)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.exit = Exit{Cause: w.cause, Code: status.code, Signal: status.signal, Unknown: status.unknown, Forced: w.forced && status.signal == syscall.SIGKILL,
		Output: w.output.ring.output(), StderrTail: w.output.ring.stderrTail("")}
	if w.cause == "" {
		w.cause = CauseCrash
		if w.detail != "" && (status.signal == 0 || w.exit.Forced) {
			w.cause = CauseProtocol
		}
		w.exit.Cause = w.cause
	}
	w.exit.OOMSuspected = w.cause == CauseCrash && status.signal == syscall.SIGKILL && !w.exit.Forced && kernelOOMKills() > w.oomKills
	w.exit.judge(w.limits, status.cpu)
	head := w.headLocked()
	for id, open := range w.calls {
		open.err = w.lostLocked(open, status.cpu)
		if open.packet && open != head && open.why == nil && !w.frames.reached(open.end) {
			open.err = ErrWithdrawn
		}
		delete(w.calls, id)
		close(open.done)
	}
	close(w.done)
}

// lostLocked returns the error of a call that the dead worker never answered. Its evidence leaves out what other calls have
// printed: they may be others' calls.
func (w *Worker) lostLocked(open *openCall, cpu time.Duration) error {
	started, exit := w.frames.reached(open.end), w.exit
	exit.StderrTail = w.output.ring.stderrTail(open.request.RequestID)
	exit.judge(w.limits, cpu)
	switch {
	case open.why != nil && w.expired != nil:
		return open.killedLocked(w.stack, exit, started)
	case w.cause == CauseProtocol:
		return &ProtocolError{Detail: w.detail, Exit: exit, Started: started}
	default:
		return &CrashError{Exit: exit, Started: started}
	}
}
