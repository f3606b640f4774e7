// charmer keeps a pool of warm Python processes and lets any program call Python functions in them over HTTP and JSON.
//
// This package is the command line: flags, environment, signals, and the order of start and stop. One file for each
// subcommand. README.md is the manual.
package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// version of charmer, as `charmer version` and /health say it.
const version = "0.1.0"

//go:embed openapi.yaml
var contract []byte

// The exit codes. README.md lists them.
const (
	exitOK      = 0
	exitFailed  = 1 // anything without a code of its own; for `call`: the call failed
	exitUsage   = 2 // bad flag, environment variable or configuration file
	exitApp     = 3 // the app is not there or cannot be imported
	exitListen  = 4 // the address cannot be listened on
	exitForced  = 5 // the drain ran out of time, or a second signal came: running calls were killed
	description = `Warm Python processes behind HTTP and JSON.

Write Python functions, mark them with @command, and call them from any language:

  charmer serve app.py
  curl -X POST localhost:8080/execute -H 'Content-Type: application/json' -d '{"command":"greet","args":{"name":"Ada"}}'

Settings come from flags, then the environment (CHARMER_ and the flag's name), then the file named by --config.`
)

// cli is the command line.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Serve the commands of an app, or of a demo when none is named."`
	Init       initCmd       `cmd:"" help:"Write an app to begin with: commands, their test, requirements and a Dockerfile."`
	Check      checkCmd      `cmd:"" help:"Import an app, and show its commands with their types and what is wrong with them."`
	Call       callCmd       `cmd:"" help:"Call a command of a running service and print the result."`
	Config     configCmd     `cmd:"" help:"Print the effective settings and where each comes from."`
	Doctor     doctorCmd     `cmd:"" help:"Check Python and the app, and say what is wrong and what to do."`
	PythonPath pythonPathCmd `cmd:"" help:"Print where the Python package charmer is, to be set as PYTHONPATH for tests and editors."`
	Version    versionCmd    `cmd:"" help:"Print versions."`
}

// exitError is an error that decides the exit code.
type exitError struct {
	code int
	err  error // nil if all has been said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// system is what the program touches outside itself; tests bring their own.
type system struct {
	stdout, stderr io.Writer
	environ        []string
}

func main() {
	os.Exit(run(os.Args[1:], system{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}))
}

// run parses args, runs the subcommand, and returns the exit code.
func run(args []string, sys system) int {
	exited, code := false, exitOK
	parser, err := kong.New(&cli{}, kong.Name("charmer"), kong.Description(description),
		kong.DefaultEnvars("CHARMER"), kong.Writers(sys.stdout, sys.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(c int) { exited, code = true, c }))
	if err != nil {
		fmt.Fprintln(sys.stderr, "charmer:", err)
		return exitFailed
	}
	settings := readSettings(args, sys.environ, serviceFlags(parser.Model))
	if err := kong.Resolvers(settings).Apply(parser); err != nil {
		fmt.Fprintln(sys.stderr, "charmer:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited { // --help
		return code
	}
	if err != nil {
		fmt.Fprintf(sys.stderr, "charmer: %v\nTry charmer --help.\n", err)
		return exitUsage
	}
	return exitCode(parsed.Run(sys, parsed, settings), sys.stderr)
}

// exitCode reports err, if there is anything left to say, and returns its code.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: exitFailed, err: err}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, "charmer:", exit.err)
	}
	return exit.code
}
