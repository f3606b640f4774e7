package workerproc

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config says how workers are started.
type Config struct {
	Command      []string      // what to run instead of Python, for workers in other languages; empty runs Python
	Python       string        // interpreter, a path or a name looked up in PATH
	App          string        // path of a .py file, or a dotted module name; may be empty with Command
	MaxFrame     int           // bytes, both ways
	Preload      bool          // fork workers from a zygote where the system can
	AllowThreads bool          // fork even if the import left threads, which workers then lack
	StartTimeout time.Duration // from spawn to READY
	CancelGrace  time.Duration // between the cancel of a call and the kill of its worker; 0 kills at once
	LoopStall    time.Duration // without a sign of life from a worker that runs calls side by side, until that is reported; 0 for never
	Concurrency  int           // calls of an async command that a worker runs side by side unless the command says how many; 0 leaves it to Python
	Family       *Family       // that of this process; nil makes one, for a process with a single Spawner
	Environ      []string      // environment of the service, as os.Environ gives it
	Log          *slog.Logger  // takes the workers' output
	Limits       Limits        // what each worker may use
	Confinement  Confinement   // what worker processes are started with
}

// How a worker is made.
const (
	methodFork = "fork"
	methodExec = "exec"
)

// Spawner starts workers, and holds what they share: as forks of a zygote that has imported the app, one for each
// generation of the app, or with exec.
type Spawner struct {
	cfg      Config
	runtime  string       // directory of the Python runtime
	cleanup  func() error // removes it if it is temporary
	user     *identity    // whom workers run as; nil if that is whom charmer runs as
	lifeline *os.File     // read end, handed to each worker
	alive    *os.File     // write end: never written, closed by the kernel when this process dies
	family   *Family
	wg       sync.WaitGroup // goroutines of preloads
	starting starting
	offers   offers

	mu       sync.Mutex       // guards preloads
	preloads map[int]*preload // by generation
}

// NewSpawner checks whether workers can be started as cfg says, puts the Python runtime on disk and makes the lifeline. Close
// releases both.
func NewSpawner(cfg Config) (*Spawner, error) {
	s := &Spawner{cfg: cfg, cleanup: func() error { return nil }, family: cmp.Or(cfg.Family, new(Family)), preloads: map[int]*preload{}}
	var err error
	if s.user, err = cfg.confine(); err != nil {
		return nil, err
	}
	if len(cfg.Command) == 0 {
		if s.user == nil {
			s.runtime, s.cleanup, err = runtimeDir()
		} else { // who cannot read our cache
			s.runtime, s.cleanup, err = temporaryRuntime(writeSharedRuntime)
		}
		if err != nil {
			return nil, err
		}
	}
	if s.alive, s.lifeline, err = pipe(true); err != nil {
		return nil, errors.Join(err, s.cleanup())
	}
	if err := s.user.own(s.lifeline); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := becomeSubreaper(); err != nil {
		s.cfg.Preload = false
	}
	return s, nil
}

// Close ends the zygotes and the lifeline, which kills every worker still alive, and removes temporary files. No Spawn may
// be under way.
func (s *Spawner) Close() error {
	s.mu.Lock()
	for _, p := range s.preloads {
		p.cancel()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return errors.Join(s.lifeline.Close(), s.alive.Close(), s.cleanup())
}

// Spawn starts a process of a generation of the app and waits until it has said READY, at most StartTimeout; the first
// ones of a generation also wait as long for the zygote's import. It calls progress, if that is not nil, with the process
// id and each stage that the worker reports; while the zygote imports, with that of the zygote, or 0 if there is no process
// yet. ctx ends the attempt. The error is a *StartError, and the process is dead then.
func (s *Spawner) Spawn(ctx context.Context, generation int, id uint64, progress func(pid int, stage string)) (*Worker, error) {
	if progress == nil {
		progress = func(int, string) {}
	}
	z, err := s.zygote(ctx, generation, id, progress)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartTimeout)
	defer cancel()
	w, err := s.launch(z, id)
	if err != nil {
		return nil, &StartError{Stage: "spawn", Detail: err.Error()}
	}
	defer s.starting.add(id, w)()
	progress(w.PID(), "spawn")
	w.run(func(stage string) { progress(w.PID(), stage) })
	if err := w.awaitReady(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// zygote returns what to fork a worker of a generation from, or nil if it is to be exec'ed.
func (s *Spawner) zygote(ctx context.Context, generation int, id uint64, progress func(int, string)) (*zygote, error) {
	if !s.preloading() {
		return nil, nil
	}
	s.mu.Lock()
	p, ok := s.preloads[generation]
	if !ok {
		p = newPreload(s)
		s.preloads[generation] = p
	}
	s.mu.Unlock()
	defer s.starting.add(id, p)()
	return p.get(ctx, progress)
}

func (s *Spawner) preloading() bool { return s.cfg.Preload && len(s.cfg.Command) == 0 }

// Retire ends the zygote of a generation. Its workers live on. A later Spawn of the generation imports the app anew.
func (s *Spawner) Retire(generation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.preloads[generation]; ok {
		p.cancel()
		delete(s.preloads, generation)
	}
}

// Zygote describes the zygote of a generation.
func (s *Spawner) Zygote(generation int) ZygoteStatus {
	s.mu.Lock()
	p, ok := s.preloads[generation]
	s.mu.Unlock()
	switch {
	case ok:
		return p.status()
	case s.preloading():
		return ZygoteStatus{State: ZygoteStarting}
	default:
		return ZygoteStatus{State: ZygoteOff}
	}
}

// launch makes the pipes and the process, which is a fork of z, or exec'ed if z is nil or cannot be forked. The process
// is not read from before run.
func (s *Spawner) launch(z *zygote, id uint64) (*Worker, error) {
	if _, err := s.lifeline.Stat(); err != nil { // closed: nothing would end such a worker
		return nil, fmt.Errorf("lifeline: %w", err)
	}
	var p pipes
	if err := p.open(s.user); err != nil {
		return nil, err
	}
	defer p.theirs.close()
	method, began := methodFork, time.Now()
	child, err := z.fork(id, &p.theirs)
	if errors.Is(err, errCannotFork) {
		method, began = methodExec, time.Now()
		child, err = s.exec(id, &p.theirs)
	}
	if err != nil {
		p.closeOurs()
		return nil, err
	}
	ours := p.ours
	replies := &pipeReader{file: ours.replies}
	w := &Worker{
		id: id, child: child, method: method, maxFrame: s.cfg.MaxFrame, spawnedAt: began, runtime: s.runtime, limits: s.cfg.Limits, offers: &s.offers,
		output: output{log: s.cfg.Log.With("worker", id, "pid", child.pid)},
		frames: frameWriter{out: ours.calls}, in: ours.calls, out: bufio.NewReaderSize(replies, 64<<10),
		replies: ours.replies, stdout: &pipeReader{file: ours.stdout}, stderr: &pipeReader{file: ours.stderr}, stackPipe: ours.stack,
		control: p.control, cancelGrace: s.cfg.CancelGrace, loopStall: s.cfg.LoopStall,
		started: make(chan error, 1), done: make(chan struct{}), calls: map[uint32]*openCall{},
	}
	replies.emptied = w.repliesEmptied
	return w, nil
}

// exec starts a worker as a program of its own.
func (s *Spawner) exec(id uint64, theirs *ends) (*child, error) {
	argv := s.cfg.Command
	if len(argv) == 0 {
		argv = []string{s.cfg.Python, s.runtime}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = s.environ(methodExec, "CHARMER_WORKER_ID="+strconv.FormatUint(id, 10))
	cmd.Stdout, cmd.Stderr = theirs.stdout, theirs.stderr
	cmd.ExtraFiles = []*os.File{theirs.calls, theirs.replies, theirs.control, s.lifeline, theirs.stack} // descriptors 3 to 7
	return s.start(cmd)
}

// start runs a program of the Python runtime, or a worker of the user's, with all that is to be in force from its start.
func (s *Spawner) start(cmd *exec.Cmd) (*child, error) {
	write := writeRuntime
	if s.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &s.user.credential}
		write = writeSharedRuntime
	}
	if s.runtime != "" {
		if err := write(s.runtime); err != nil { // somebody may have cleaned the directory
			return nil, fmt.Errorf("write the Python runtime: %w", err)
		}
	}
	var c *child
	err := s.cfg.Confinement.inForce(func() (err error) {
		c, err = startChild(cmd, s.family)
		return err
	})
	if err != nil || s.runtime != "" { // Python sets its limits itself
		return c, err
	}
	if err := s.cfg.Limits.apply(c.pid); err != nil {
		c.killGroup()
		c.wait()
		return nil, err
	}
	return c, nil
}

// environ is the environment of a worker or of a zygote.
func (s *Spawner) environ(method string, more ...string) []string {
	env := append(workerEnviron(passed(s.cfg.Environ, s.cfg.Confinement.PassEnv)), "CHARMER_WORKER_MAX_FRAME="+strconv.Itoa(s.cfg.MaxFrame), "CHARMER_WORKER_START_METHOD="+method)
	if s.cfg.App != "" {
		env = append(env, "CHARMER_WORKER_APP="+s.cfg.App)
	}
	if s.runtime != "" {
		env = append(env, s.cfg.Limits.variable())
	}
	if s.cfg.Concurrency > 0 {
		env = append(env, "CHARMER_WORKER_CONCURRENCY="+strconv.Itoa(s.cfg.Concurrency))
	}
	if s.user != nil {
		env = append(env, s.user.environ...) // the last of equal names counts
	}
	return append(env, more...)
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
