package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"charmer/poolsvc"
)

// reloads reloads the app each time that it is told to, one time after the other. However often it is told while a reload
// runs, one more follows.
type reloads struct {
	pool   *poolsvc.Pool
	log    *slog.Logger
	wanted chan struct{}
	ctx    context.Context // of its goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup // its goroutines
}

// startReloads reloads at each SIGHUP that comes on hangups. If the service is interactive, one that comes because the
// terminal went away is passed on to ends instead: nobody would be left to end the service.
func startReloads(pool *poolsvc.Pool, log *slog.Logger, hangups <-chan os.Signal, ends chan<- os.Signal, interactive bool) *reloads {
	r := &reloads{pool: pool, log: log, wanted: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.wg.Go(r.run)   // ends with ctx
	r.wg.Go(func() { // ends with ctx
		gone := false
		for {
			select {
			case sig := <-hangups:
				switch {
				case gone: // kernel and shell both tell; a second signal would hurry the end
				case interactive && !hasTerminal():
					gone = true
					select {
					case ends <- sig:
					default: // it ends already
					}
				default:
					r.want()
				}
			case <-r.ctx.Done():
				return
			}
		}
	})
	return r
}

// isInteractive reports whether the service is to end with its terminal: it has one, and was not started to outlive it, as
// with nohup. It is to be asked before SIGHUP is caught, and thus before the terminal can go away unseen.
func isInteractive() bool { return !signal.Ignored(syscall.SIGHUP) && hasTerminal() }

// hasTerminal reports whether the process has a controlling terminal.
func hasTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	_ = tty.Close() // nothing was written
	return true
}

// want asks for a reload.
func (r *reloads) want() {
	select {
	case r.wanted <- struct{}{}:
	default: // it is asked for already
	}
}

func (r *reloads) run() {
	for {
		select {
		case <-r.wanted:
			if _, err := r.pool.ReloadNext(r.ctx); err != nil {
				r.log.Debug("no reload", "err", err) // the pool has told why, unless it is being closed
			}
		case <-r.ctx.Done():
			return
		}
	}
}

// end stops listening, and waits until everything has ended.
func (r *reloads) end() {
	r.cancel()
	r.wg.Wait()
}
