package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"time"

	"charmer/workerproc"
)

// doctorCmd is `charmer doctor`.
type doctorCmd struct {
	settings `embed:""`
	appArg   `embed:""`
}

// Run checks, in the order in which they matter, what a service needs to start, and stops at the first thing missing.
func (c *doctorCmd) Run(sys system, file *fileSettings) error {
	if err := c.finish(file); err != nil {
		return err
	}
	out := &report{out: sys.stdout}
	return errors.Join(c.check(out, sys.environ), out.err)
}

// report is what doctor writes to. It keeps the first error, so that not every line has to be checked for one.
type report struct {
	out io.Writer
	err error
}

// Much of what is reported is text from guests, so it is made visible.
func (r *report) Write(p []byte) (int, error) {
	_, err := io.WriteString(r.out, visibleLines(string(p)))
	if r.err == nil {
		r.err = err
	}
	return len(p), err
}

func (c *doctorCmd) check(out io.Writer, environ []string) error {
	if c.WorkerCommand == "" {
		if err := c.checkPython(out); err != nil {
			return &exitError{code: exitFailed, err: err}
		}
	}
	app, err := c.resolve(c.settings)
	if err != nil {
		return err
	}
	return c.checkApp(out, environ, app)
}

// checkPython finds the interpreter and asks for its version.
func (c *doctorCmd) checkPython(out io.Writer) error {
	path, err := exec.LookPath(c.Python)
	if err != nil {
		return fmt.Errorf("%w\nInstall Python 3.9 or newer, or name an interpreter with --python", err)
	}
	const program = `import sys; print("%d.%d.%d" % sys.version_info[:3]); sys.exit(sys.version_info < (3, 9))`
	version, err := exec.Command(path, "-c", program).CombinedOutput()
	text := strings.TrimSpace(string(version))
	if err != nil {
		return fmt.Errorf("%s: %s: %w\nIt must be Python 3.9 or newer; name another with --python", path, text, err)
	}
	fmt.Fprintf(out, "ok  Python %s at %s\n", text, path)
	return nil
}

// checkApp starts one worker and lists what it offers.
func (c *doctorCmd) checkApp(out io.Writer, environ []string, app string) error {
	spawner, err := newSpawner(c.settings, app, environ, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if text := c.limits().String(); text != "" {
		fmt.Fprintf(out, "ok  limits of a worker: %s\n", text)
	}
	if text := c.confinement().String(); text != "" {
		fmt.Fprintf(out, "ok  workers run with: %s\n", text)
	}
	name := c.called(app)
	began := time.Now()
	worker, err := spawner.Spawn(context.Background(), 1, 1, func(_ int, stage string) {
		fmt.Fprintf(out, "    %s (%s)\n", stage, time.Since(began).Round(time.Millisecond))
	})
	if err != nil {
		return errors.Join(&exitError{code: exitApp, err: c.explainStart(name, err)}, spawner.Close())
	}
	language := ""
	if worker.Language() != "" { // a worker need not say it
		language = ", in " + worker.Language()
	}
	fmt.Fprintf(out, "ok  %s is ready after %s%s\n", name, worker.ReadyAfter().Round(time.Millisecond), language)
	fmt.Fprintf(out, "    %s\n", startTimes(worker, spawner.Zygote(1)))
	for _, command := range worker.Commands() {
		summary, _, _ := strings.Cut(command.Doc, "\n")
		fmt.Fprintf(out, "    %s  %s\n", command.Name, summary)
	}
	switch exit := worker.Stop(c.StopGrace); {
	case exit.Forced:
		fmt.Fprintf(out, "warning: it did not stop within --stop-grace (%s) and was killed\n", c.StopGrace)
	case exit.Code != 0: // -1 after a signal
		fmt.Fprintf(out, "warning: it %s when asked to stop\n", exit.Reason)
	default:
		fmt.Fprintf(out, "ok  it %s when asked to stop\n", exit.Reason)
	}
	return spawner.Close()
}

// startTimes says where the time of a start went. A fork has none for the import, which the zygote has done.
func startTimes(w *workerproc.Worker, z workerproc.ZygoteStatus) string {
	const fine = 100 * time.Microsecond
	p := w.Phases()
	if p.Import == 0 && z.Import > 0 {
		return fmt.Sprintf("%s: spawn %s, handshake %s; import by the zygote %s", w.StartMethod(), p.Spawn.Round(fine), p.Handshake.Round(fine), z.Import.Round(fine))
	}
	return fmt.Sprintf("%s: spawn %s, import %s, handshake %s", w.StartMethod(), p.Spawn.Round(fine), p.Import.Round(fine), p.Handshake.Round(fine))
}

// called names what is started.
func (s *settings) called(app string) string {
	if s.WorkerCommand != "" {
		return fmt.Sprintf("worker command %q", s.WorkerCommand)
	}
	return app
}

// explainStart says why an app did not start and what to do about it, made visible.
func (s *settings) explainStart(name string, err error) error {
	var failure *workerproc.StartError
	if !errors.As(err, &failure) {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s does not start (%s): %s", name, failure.Stage, failure.Detail)
	if failure.Exit.Reason != "" {
		fmt.Fprintf(&b, "; the process %s", failure.Exit.Reason)
	}
	if failure.Traceback != "" {
		b.WriteString("\n" + strings.TrimSpace(failure.Traceback))
	}
	for _, line := range failure.Exit.Output {
		b.WriteString("\n| " + line)
	}
	switch {
	case strings.Contains(failure.Detail, "ModuleNotFoundError"):
		b.WriteString("\nInstall what is missing into the Python that --python names, or name the Python that has it.")
	case s.WorkerUser != "" && (strings.Contains(failure.Detail, "PermissionError") || strings.Contains(failure.Detail, "permission denied")):
		fmt.Fprintf(&b, "\nPython and the app, with all directories above them, must be readable for %s.", s.WorkerUser)
	case strings.Contains(failure.Detail, "not ready after"):
		b.WriteString("\nIf the app needs longer to import, raise --start-timeout.")
	}
	return errors.New(visibleLines(b.String()))
}
