package workerproc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config says how workers are started.
type Config struct {
	Command      []string      // what to run instead of Python, for workers in other languages; empty runs Python
	Python       string        // interpreter, a path or a name looked up in PATH
	App          string        // path of a .py file, or a dotted module name; may be empty with Command
	MaxFrame     int           // bytes, both ways
	StartTimeout time.Duration // from spawn to READY
	Environ      []string      // environment of the service, as os.Environ gives it
	Log          *slog.Logger  // takes the workers' output
}

// Spawner starts workers with exec and holds what they share. Another way to make the process (a fork of a zygote)
// takes the place of its launch method; the rest of a worker's life is the same.
type Spawner struct {
	cfg      Config
	runtime  string       // directory of the Python runtime
	cleanup  func() error // removes it if it is temporary
	lifeline *os.File     // read end, handed to each worker
	alive    *os.File     // write end: never written, closed by the kernel when this process dies
}

// NewSpawner puts the Python runtime on disk and makes the lifeline. Close releases both.
func NewSpawner(cfg Config) (*Spawner, error) {
	s := &Spawner{cfg: cfg, cleanup: func() error { return nil }}
	if len(cfg.Command) == 0 {
		var err error
		if s.runtime, s.cleanup, err = runtimeDir(); err != nil {
			return nil, err
		}
	}
	var err error
	if s.alive, s.lifeline, err = pipe(true); err != nil {
		return nil, errors.Join(err, s.cleanup())
	}
	return s, nil
}

// Close ends the lifeline, which kills every worker still alive, and removes temporary files. No Spawn may be under way.
func (s *Spawner) Close() error {
	return errors.Join(s.lifeline.Close(), s.alive.Close(), s.cleanup())
}

// StartMethod names how this Spawner makes processes, for people.
func (s *Spawner) StartMethod() string { return "exec" }

// Spawn starts a process and waits until it has said READY, at most StartTimeout. It calls progress, if that is not nil,
// with the process id and each stage that the worker reports. ctx ends the attempt. The error is a *StartError, and the
// process is dead then.
func (s *Spawner) Spawn(ctx context.Context, id uint64, progress func(pid int, stage string)) (*Worker, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartTimeout)
	defer cancel()
	if progress == nil {
		progress = func(int, string) {}
	}
	w, err := s.launch(id)
	if err != nil {
		return nil, &StartError{Stage: "spawn", Detail: err.Error()}
	}
	progress(w.PID(), "spawn")
	w.run(func(stage string) { progress(w.PID(), stage) })
	if err := w.awaitReady(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// launch makes the pipes and the process. The process is not read from before run.
func (s *Spawner) launch(id uint64) (*Worker, error) {
	if _, err := s.lifeline.Stat(); err != nil { // closed: nothing would end such a worker
		return nil, fmt.Errorf("lifeline: %w", err)
	}
	if s.runtime != "" {
		if err := writeRuntime(s.runtime); err != nil { // somebody may have cleaned the directory
			return nil, fmt.Errorf("write the Python runtime: %w", err)
		}
	}
	var all []*os.File
	open := func(toChild bool) (ours, theirs *os.File, err error) {
		if ours, theirs, err = pipe(toChild); err == nil {
			all = append(all, ours, theirs)
		}
		return ours, theirs, err
	}
	calls, callsEnd, err1 := open(true)
	replies, repliesEnd, err2 := open(false)
	stdout, stdoutEnd, err3 := open(false)
	stderr, stderrEnd, err4 := open(false)
	stack, stackEnd, err5 := open(false)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		closeAll(all...)
		return nil, err
	}
	cmd := s.command(id)
	cmd.Stdout, cmd.Stderr = stdoutEnd, stderrEnd
	cmd.ExtraFiles = []*os.File{callsEnd, repliesEnd, nil, s.lifeline, stackEnd} // descriptors 3, 4, (5), 6, 7
	child, err := startChild(cmd)
	closeAll(callsEnd, repliesEnd, stdoutEnd, stderrEnd, stackEnd)
	if err != nil {
		closeAll(calls, replies, stdout, stderr, stack)
		return nil, err
	}
	return &Worker{
		id: id, child: child, maxFrame: s.cfg.MaxFrame, spawnedAt: time.Now(),
		log: s.cfg.Log.With("worker", id, "pid", child.pid), runtime: s.runtime,
		frames: frameWriter{out: calls}, in: calls, out: bufio.NewReaderSize(&pipeReader{file: replies}, 64<<10),
		replies: replies, stdout: &pipeReader{file: stdout}, stderr: &pipeReader{file: stderr}, stackPipe: stack,
		started: make(chan error, 1), done: make(chan struct{}), calls: map[uint32]*openCall{},
	}, nil
}

func (s *Spawner) command(id uint64) *exec.Cmd {
	argv := s.cfg.Command
	if len(argv) == 0 {
		argv = []string{s.cfg.Python, s.runtime}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(workerEnviron(s.cfg.Environ),
		"CHARMER_WORKER_ID="+strconv.FormatUint(id, 10),
		"CHARMER_WORKER_MAX_FRAME="+strconv.Itoa(s.cfg.MaxFrame),
		"CHARMER_WORKER_START_METHOD="+s.StartMethod())
	if s.cfg.App != "" {
		cmd.Env = append(cmd.Env, "CHARMER_WORKER_APP="+s.cfg.App)
	}
	return cmd
}

// workerEnviron is environ without charmer's own settings, and with one thread for each numeric library that does not
// say otherwise: every worker would start one per core, and the workers together are as many as the cores already.
func workerEnviron(environ []string) []string {
	threads := map[string]bool{"OMP_NUM_THREADS": true, "OPENBLAS_NUM_THREADS": true, "MKL_NUM_THREADS": true, "NUMEXPR_NUM_THREADS": true}
	env := make([]string, 0, len(environ)+8)
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		delete(threads, name)
		if !strings.HasPrefix(name, "CHARMER_") {
			env = append(env, entry)
		}
	}
	for name := range threads {
		env = append(env, name+"=1")
	}
	return env
}

// AppExists returns an error if app is the path of a file that is not there. Whether a module name can be imported only
// Python knows.
func AppExists(app string) error {
	if !strings.HasSuffix(app, ".py") && !strings.ContainsRune(app, filepath.Separator) {
		return nil
	}
	info, err := os.Stat(app)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a directory; name a .py file or a module", app)
	}
	return nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // nothing was written that a failure could lose
	}
}

// drainOutput reads r line by line into w until r ends. A line belongs to the call that runs if there is exactly one, and if
// the line did not begin before it: the pipe may still hold what the call before it has left there.
func (w *Worker) drainOutput(r *pipeReader, stream string) {
	err := readLines(r, func(text string, at int64) {
		open := w.onlyCall()
		if open != nil && (stream == "stdout" && at < open.stdout || stream == "stderr" && at < open.stderr) {
			open = nil
		}
		w.line(Line{Stream: stream, Level: "info", Message: text}, open)
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.log.Error("read worker output", "stream", stream, "err", err)
	}
}
