package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"charmer/handlers"
	"charmer/poolsvc"
	"charmer/workerproc"
	"charmer/workerproc/awake"
)

// demoApp is served when no app is named.
const demoApp = "charmer.demo"

// appArg names what is served.
type appArg struct {
	App string `arg:"" optional:"" help:"Python file (app.py) or module (package.module); a demo when left out."`
}

// resolve returns the app as workers are told it, or an error if it is a file that is not there.
func (a appArg) resolve(s settings) (string, error) {
	if a.App == "" {
		if s.WorkerCommand != "" {
			return "", nil
		}
		return demoApp, nil
	}
	if err := workerproc.AppExists(a.App); err != nil {
		if _, other := os.Stat(a.App + ".py"); errors.Is(err, fs.ErrNotExist) && other == nil {
			err = fmt.Errorf("%w; did you mean %s.py?", err, a.App)
		}
		return "", &exitError{code: exitApp, err: fmt.Errorf("app: %w", err)}
	}
	if strings.HasSuffix(a.App, ".py") {
		return filepath.Abs(a.App)
	}
	return a.App, nil
}

// serveCmd is `charmer serve`.
type serveCmd struct {
	settings `embed:""`
	appArg   `embed:""`
}

// Run serves until a signal, and then drains.
func (c *serveCmd) Run(sys system, file *fileSettings) error {
	if err := c.finish(file); err != nil {
		return err
	}
	app, err := c.resolve(c.settings)
	if err != nil {
		return err
	}
	log, end := newLog(c.settings, sys.stderr)
	defer end()
	defer runtime.KeepAlive(make([]byte, ballast))
	leaveProcessors(sys.environ)
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return &exitError{code: exitListen, err: err}
	}
	// Two signals fit, so that the second one is not lost while the first is acted on.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	interactive := isInteractive()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	s, err := newService(c.settings, app, sys.environ, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	what := slog.String("app", app)
	if app == "" {
		what = slog.String("worker_command", c.WorkerCommand)
	}
	log.Info("serving", what, "listen", listener.Addr().String(), "workers", c.MaxWorkers, "version", version)
	reloads := startReloads(s.pool, log, hangups, signals, interactive)
	defer reloads.end()
	if c.Watch {
		reloads.watch(app)
	}
	return s.run(listener, signals)
}

// ballast is memory that is never touched, and so takes none. The heap in use is a few megabytes, and would be collected many times a second
// under load: the collector lets as much garbage gather as is in use, this included.
const ballast = 16 << 20

// leaveProcessors has Go run on half of the processors, rounded up, unless the operator says how many (GOMAXPROCS): the others are
// for Python, which Go's threads would keep from them while they look for work.
func leaveProcessors(environ []string) {
	if !slices.ContainsFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, "GOMAXPROCS=") }) {
		runtime.GOMAXPROCS((runtime.GOMAXPROCS(0) + 1) / 2)
	}
}

// service is everything that runs: started by newService, ended by run.
type service struct {
	settings settings
	log      *slog.Logger
	spawner  *workerproc.Spawner
	pool     *poolsvc.Pool
	handler  *handlers.Server
	server   *http.Server
}

func newService(s settings, app string, environ []string, log *slog.Logger) (*service, error) {
	spawner, err := newSpawner(s, app, environ, log)
	if err != nil {
		return nil, err
	}
	pool := poolsvc.New(poolConfig(s, spawner, log))
	handler, err := handlers.New(handlers.Config{Pool: pool, Log: log, Contract: contract, Version: version,
		MaxBody: int64(s.MaxBody), Debug: s.Debug})
	if err != nil {
		pool.Close(context.Background())
		return nil, errors.Join(err, spawner.Close())
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	lone := newLoneClient(func(conn syscall.Conn, limit time.Duration) { awake.For(conn, limit, nil) })
	return &service{settings: s, log: log, spawner: spawner, pool: pool, handler: handler, server: &http.Server{
		Handler: lone.see(handler), ConnState: lone.changed, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}, nil
}

func newSpawner(s settings, app string, environ []string, log *slog.Logger) (*workerproc.Spawner, error) {
	cfg := workerproc.Config{Python: s.Python, App: app, MaxFrame: int(s.MaxFrame),
		Preload: !s.NoPreload, AllowThreads: s.PreloadThreads == "allow", StartTimeout: s.StartTimeout, CancelGrace: s.CancelGrace,
		LoopStall: s.LoopStall, Concurrency: s.Concurrency, Environ: environ, Log: log}
	cfg.Limits, cfg.Confinement = s.limits(), s.confinement()
	if s.WorkerCommand != "" {
		cfg.Command = []string{"/bin/sh", "-c", "exec " + s.WorkerCommand}
	}
	return workerproc.NewSpawner(cfg)
}

func poolConfig(s settings, spawner *workerproc.Spawner, log *slog.Logger) poolsvc.Config {
	return poolsvc.Config{
		Spawn: func(ctx context.Context, generation int, id uint64, progress func(int, string)) (poolsvc.Worker, error) {
			w, err := spawner.Spawn(ctx, generation, id, progress)
			if err != nil {
				return nil, err // not w: a nil *Worker in the interface would not be nil
			}
			return w, nil
		},
		Retire: spawner.Retire, Renew: spawner.Retire, StartingStack: spawner.StartingStack,
		Zygote: spawner.Zygote, Workers: s.MaxWorkers, MinWorkers: s.MinWorkers, ScaleDownAfter: s.ScaleDownAfter,
		MaxRequests: s.MaxRequests, MaxAge: s.MaxAge, MaxMemory: int64(s.MaxMemory), StartParallelism: s.StartParallelism,
		MinReady: s.MinReady, Lazy: s.Lazy,
		StartTimeout: s.StartTimeout, CheckoutTimeout: s.CheckoutTimeout, ExecuteTimeout: s.ExecuteTimeout, StopGrace: s.StopGrace,
		MaxQueue: s.MaxQueue, Prefetch: s.Prefetch, LeaseTTL: s.LeaseTTL, LeaseShare: s.LeaseShare, LeaseReuse: s.LeaseReuse,
		Spares: s.Spares, SessionIdle: s.SessionIdle,
		SessionLifetime: s.SessionLifetime, MaxSessions: s.MaxSessions, Log: log,
	}
}

// run serves on listener until the first signal, drains, and ends everything. A second signal ends it at once.
func (s *service) run(listener net.Listener, signals <-chan os.Signal) error {
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(listener) }() // ends by Shutdown or Close, below
	patient, hurry := context.WithCancel(context.Background())
	defer hurry()
	drain := patient // bounded, below
	var err error
	select {
	case err = <-served:
		served <- http.ErrServerClosed
		err = &exitError{code: exitListen, err: err}
		s.pool.Leave()
	case sig := <-signals:
		s.log.Info("draining", "signal", sig.String(), "timeout", s.settings.DrainTimeout.String())
		go func() { // ends with patient
			select {
			case sig := <-signals:
				s.log.Warn("not waiting any longer", "signal", sig.String())
				hurry()
			case <-patient.Done():
			}
		}()
		var cancel context.CancelFunc
		drain, cancel = context.WithTimeout(patient, s.settings.DrainDelay+s.settings.DrainTimeout)
		defer cancel()
		err = s.drain(drain)
	}
	s.pool.Close(patient)
	// Every call has its answer now. What is left is to write them out, which may take what is left of the drain.
	if s.shutdown(drain) != nil {
		err = errors.Join(err, s.server.Close())
	}
	<-served
	err = errors.Join(err, s.spawner.Close())
	s.log.Info("stopped")
	return err
}

// drain reports not ready, waits the drain delay, refuses new calls, and waits for those accepted until ctx ends.
func (s *service) drain(ctx context.Context) error {
	s.pool.Leave()
	delay := time.NewTimer(s.settings.DrainDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-ctx.Done():
	}
	if left := s.pool.Drain(ctx); left > 0 {
		s.log.Warn("killing what still runs", "requests", left)
		return &exitError{code: exitForced}
	}
	return nil
}

// writeOut is the least time that clients have to take their last answers.
const writeOut = time.Second

// shutdown closes the listener and ends the connections: those that are idle at once, those whose answer is being written
// when it is, until ctx ends but at least for writeOut. A request that has not come in full by then was not accepted.
func (s *service) shutdown(ctx context.Context) error {
	least, cancel := context.WithTimeout(context.Background(), writeOut)
	defer cancel()
	err := s.server.Shutdown(least)
	for err != nil && ctx.Err() == nil && s.handler.Writing() > 0 {
		more, cancel := context.WithTimeout(ctx, writeOut)
		err = s.server.Shutdown(more)
		cancel()
	}
	return err
}
