package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/go-playground/validator/v10"
	"github.com/goccy/go-yaml"
)

// settings are all settings of a service, once: flags, environment, file, help and limits come from this struct.
type settings struct {
	Listen           string        `default:"127.0.0.1:8080" validate:"required" help:"Address to listen on, host:port; port 0 takes a free one. The service has no authentication yet: keep it off public networks."`
	Workers          int           `default:"0" validate:"min=0,max=10000" help:"Workers in the pool; 0 means one for each CPU. Least and most, unless they are given."`
	MinWorkers       int           `default:"0" validate:"min=0,max=10000" help:"Workers that the pool keeps; 0 means --workers. A lazy pool keeps none."`
	MaxWorkers       int           `default:"0" validate:"min=0,max=10000" help:"Workers that the pool grows to while requests wait; 0 means --workers."`
	ScaleDownAfter   time.Duration `default:"60s" validate:"gt=0" help:"A worker above the least stops when it has been idle for this long, one at a time."`
	MaxRequests      int64         `default:"0" validate:"min=0" help:"Replace a worker of the pool after about this many calls; 0 never."`
	MaxAge           time.Duration `default:"0s" validate:"min=0" help:"Replace a worker of the pool after about this long; 0 never."`
	MaxMemory        size          `default:"0B" validate:"min=0" help:"Replace a worker of the pool that has about this much memory of its own; 0 never."`
	StartParallelism int           `default:"0" validate:"min=0,max=1000" help:"Workers that start at the same time; 0 means one for each CPU, at least 2."`
	Spares           int           `default:"-1" validate:"min=-1,max=1000" help:"Ready workers kept beside the pool, to replace one or open a session at once; -1 means 2 where workers are forked, else 0."`
	MinReady         int           `default:"1" validate:"min=0" help:"Workers that must be up for the service to be ready."`
	Lazy             bool          `help:"Start workers when requests need them."`
	CheckoutTimeout  time.Duration `default:"5s" validate:"min=0" help:"Wait for a worker."`
	ExecuteTimeout   time.Duration `default:"30s" validate:"gt=0" help:"Wait and run of a call together; at the end it is cancelled."`
	CancelGrace      time.Duration `default:"1s" validate:"min=0" help:"Between cancelling a call in Python and killing its worker; 0 kills at once."`
	Concurrency      int           `default:"100" validate:"min=1,max=10000" help:"Calls of an async command that run side by side in a worker, unless the command says so itself."`
	Prefetch         int           `default:"4" validate:"min=0,max=32" help:"Calls of fast commands that wait in a busy worker for their turn, at most; 0 sends none ahead."`
	LoopStall        time.Duration `default:"1s" validate:"min=0" help:"Report a worker that runs calls side by side, and where it is, when its loop has not turned for this long; 0 never."`
	StartTimeout     time.Duration `default:"30s" validate:"gt=0" help:"From the spawn of a worker until it is ready."`
	StopGrace        time.Duration `default:"2s" validate:"min=0" help:"Between asking a worker to stop and killing it."`
	LeaseTTL         time.Duration `name:"lease-ttl" default:"60s" validate:"gt=0" help:"How long a lease lasts unless renewed."`
	LeaseShare       float64       `default:"1" validate:"gt=0,max=1" help:"Share of the workers that leases may hold."`
	LeaseReuse       bool          `help:"Keep a worker that a lease has used; without it, a new one takes its place."`
	SessionIdle      time.Duration `default:"15m" validate:"gt=0" help:"A session ends when nothing has used it for this long."`
	SessionLifetime  time.Duration `default:"8h" validate:"gt=0" help:"A session ends after this long, used or not."`
	MaxSessions      int           `default:"256" validate:"min=1" help:"Sessions alive at once, a process each."`
	MaxQueue         int           `default:"1000" validate:"min=0" help:"Requests that wait for a worker."`
	MaxBody          size          `default:"8MiB" validate:"min=1" help:"Largest request body."`
	MaxFrame         size          `default:"64MiB" validate:"min=65536,max=4294967295" help:"Largest message to or from a worker, arguments or result."`
	DrainTimeout     time.Duration `default:"30s" validate:"min=0" help:"Time for running calls to finish after SIGTERM."`
	DrainDelay       time.Duration `default:"0s" validate:"min=0" help:"Between reporting not ready and refusing new calls."`
	Python           string        `default:"python3" validate:"required" help:"Interpreter, a path or a name in PATH."`
	NoPreload        bool          `help:"Start every worker as a program of its own that imports the app, not as a fork of one that has."`
	PreloadThreads   string        `default:"refuse" enum:"refuse,allow" validate:"oneof=refuse allow" help:"Whether to fork an app whose import leaves threads running; see docs/preloading.md (${enum})."`
	WorkerCommand    string        `placeholder:"COMMAND" help:"Run this instead of Python: a worker that speaks docs/protocol.md."`
	LimitMemory      size          `name:"limit-memory" default:"0B" validate:"omitempty,min=16777216" help:"Memory that a worker may map for itself alone; 0 is no limit."`
	LimitCPU         time.Duration `name:"limit-cpu" default:"0s" validate:"omitempty,min=1s" help:"Processor time of a worker in its life, whole seconds; 0 is no limit."`
	LimitFiles       int           `default:"0" validate:"omitempty,min=32" help:"Open files of a worker; 0 is no limit of its own."`
	LimitProcesses   int           `default:"0" validate:"min=0" help:"Processes and threads of the workers' user, all together; does not bind root; 0 is no limit."`
	WorkerUser       string        `placeholder:"USER[:GROUP]" help:"Whom workers run as; needs root."`
	NoNewPrivs       bool          `help:"Workers gain nothing from set-user-id programs."`
	PassEnv          string        `placeholder:"NAME,..." help:"Environment variables that workers get beside a basic set, with * for any rest of a name; all when empty, but never CHARMER_*."`
	Nice             int           `default:"0" validate:"min=-20,max=19" help:"Scheduling priority of workers, 19 is the lowest; 0 is that of the service."`
	CPUAffinity      string        `name:"cpu-affinity" placeholder:"LIST" help:"Processors that workers run on, such as 0-3,6."`
	Watch            bool          `help:"Reload when a Python file beside the app or below changes."`
	Debug            bool          `help:"Log workers' output as it comes, and add tracebacks to 422 answers."`
	LogFormat        string        `default:"auto" enum:"auto,text,json" validate:"oneof=auto text json" help:"auto is text on a terminal and json otherwise (${enum})."`
	LogLevel         string        `default:"info" enum:"debug,info,warn,error" validate:"oneof=debug info warn error" help:"Least level that is logged (${enum})."`
	Config           string        `placeholder:"FILE" help:"YAML file of settings, named like the flags with _ for -."`
}

// finish fills in what depends on the machine and reports every problem at once, each with its place in file if it is from
// there.
func (s *settings) finish(file *fileSettings) error {
	if file.err != nil {
		return &exitError{code: exitUsage, err: file.err}
	}
	if s.StartParallelism == 0 {
		s.StartParallelism = max(2, runtime.GOMAXPROCS(0))
	}
	err := validator.New(validator.WithRequiredStructEnabled()).Struct(s)
	var problems validator.ValidationErrors
	var lines []error
	if errors.As(err, &problems) {
		for _, p := range problems {
			lines = append(lines, fmt.Errorf("%s: %v does not satisfy %s", file.place(flagName(p.StructField())), p.Value(), strings.TrimSpace(p.Tag()+" "+p.Param())))
		}
	} else if err != nil {
		lines = append(lines, err)
	}
	if _, port, err := net.SplitHostPort(s.Listen); err != nil {
		lines = append(lines, fmt.Errorf("%s: %w", file.place("listen"), err))
	} else if _, err := net.LookupPort("tcp", port); err != nil {
		lines = append(lines, fmt.Errorf("%s: %w", file.place("listen"), err))
	}
	lines = append(lines, s.sizePool(file)...)
	if least := cmp.Or(s.MinWorkers, s.MaxWorkers); least > 0 && s.MinReady > least {
		lines = append(lines, fmt.Errorf("%s: %d is more than the %d workers", file.place("min-ready"), s.MinReady, least))
	}
	if s.Lazy && s.MaxQueue == 0 {
		lines = append(lines, fmt.Errorf("%s: 0 with --lazy can never serve: a request has to wait for the worker that starts for it", file.place("max-queue")))
	}
	lines = append(lines, s.checkConfinement(file)...)
	if len(lines) > 0 {
		return &exitError{code: exitUsage, err: errors.Join(lines...)}
	}
	return nil
}

// sizePool fills in the bounds of the pool that are not given, and reports contradictions. Afterwards Workers is the most.
func (s *settings) sizePool(file *fileSettings) (problems []error) {
	if s.Lazy && s.MinWorkers > 0 {
		problems = append(problems, fmt.Errorf("%s: %d with --lazy, which keeps none", file.place("min-workers"), s.MinWorkers))
	}
	if s.MaxWorkers > 0 && s.MinWorkers > s.MaxWorkers {
		problems = append(problems, fmt.Errorf("%s: %d is more than the %d of max-workers", file.place("min-workers"), s.MinWorkers, s.MaxWorkers))
	} else if s.Workers > 0 && s.MinWorkers > s.Workers {
		problems = append(problems, fmt.Errorf("%s: %d is less than the %d of min-workers", file.place("workers"), s.Workers, s.MinWorkers))
	} else if s.MaxWorkers > 0 && s.Workers > s.MaxWorkers {
		problems = append(problems, fmt.Errorf("%s: %d is more than the %d of max-workers", file.place("workers"), s.Workers, s.MaxWorkers))
	}
	if s.Workers == 0 {
		s.Workers = max(s.MinWorkers, runtime.GOMAXPROCS(0))
		if s.MaxWorkers > 0 {
			s.Workers = min(s.Workers, s.MaxWorkers)
		}
	}
	if s.MinWorkers == 0 && !s.Lazy {
		s.MinWorkers = s.Workers
	}
	s.MaxWorkers = cmp.Or(s.MaxWorkers, s.Workers)
	s.Workers = s.MaxWorkers
	return problems
}

// flagName is the flag of a field, as kong derives it.
func flagName(field string) string {
	upper := func(i int) bool { return i >= len(field) || field[i] >= 'A' && field[i] <= 'Z' }
	var b strings.Builder
	for i, r := range field {
		if i > 0 && upper(i) && !(upper(i-1) && upper(i+1)) { // LeaseTTL is lease-ttl, CPUAffinity cpu-affinity
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// size is a number of bytes, written with a unit: B, KiB, MiB, GiB, or KB, MB, GB for powers of ten.
type size int64

var sizeUnits = []struct {
	name  string
	bytes float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

// UnmarshalText reads a size such as 8MiB.
func (s *size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(string(text), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(n) || n < 0 || n*unit.bytes >= math.MaxInt64 {
			break
		}
		*s = size(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 8MiB", text)
}

// String writes a size in the largest binary unit that divides it.
func (s size) String() string {
	for _, unit := range []struct {
		name  string
		bytes size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s > 0 && s%unit.bytes == 0 {
			return strconv.FormatInt(int64(s/unit.bytes), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// fileSettings are the values of the configuration file, and how kong gets at them.
type fileSettings struct {
	path   string
	err    error             // what is wrong with the file; it has no values then
	values map[string]string // by flag name
	env    map[string]bool   // names of set environment variables
	used   map[string]bool   // flags whose value is the file's
}

// readSettings reads the file that --config or CHARMER_CONFIG names, if any. What is wrong with it is kept for the
// commands that have settings, and tells every bad key and value: those of service are the good ones.
func readSettings(args, environ []string, service []*kong.Flag) *fileSettings {
	f := &fileSettings{values: map[string]string{}, env: map[string]bool{}, used: map[string]bool{}}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		f.env[name] = true
		if name == "CHARMER_CONFIG" {
			f.path = value
		}
	}
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--config="); ok {
			f.path = value
		} else if arg == "--config" && i+1 < len(args) {
			f.path = args[i+1]
		}
	}
	if f.path == "" {
		return f
	}
	rows, err := readDocument(f.path)
	if err != nil {
		f.err = fmt.Errorf("configuration: %w", err)
		return f
	}
	if f.err = f.take(rows, service); f.err != nil {
		clear(f.values)
	}
	return f
}

// readDocument returns the one YAML document of a file, a mapping. An empty file is an empty one.
func readDocument(path string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var rows map[string]any
	if err := documents.Decode(&rows); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var more any
	if err := documents.Decode(&more); err == nil {
		return nil, fmt.Errorf("%s: there is a second document; settings are one", path)
	} else if err != io.EOF {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
}

// take keeps rows as values of flags, and returns every problem with them. The order is that of the keys.
func (f *fileSettings) take(rows map[string]any, service []*kong.Flag) error {
	flags := map[string]*kong.Flag{}
	for _, flag := range service {
		if flag.Name != "config" && flag.Name != "help" {
			flags[flag.Name] = flag
		}
	}
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		name := strings.ReplaceAll(key, "_", "-")
		if flags[name] == nil || strings.Contains(key, "-") {
			problems = append(problems, fmt.Errorf("configuration %s: unknown key %q; keys are named like the flags, with _ for -", f.path, key))
			continue
		}
		f.values[name] = fmt.Sprint(rows[key])
		if err := checkValue(flags[name], rows[key]); err != nil {
			problems = append(problems, fmt.Errorf("configuration %s: %s: %w", f.path, key, err))
		}
	}
	return errors.Join(problems...)
}

// checkValue reads a value as kong will, whose own error would not say where it stands.
func checkValue(flag *kong.Flag, value any) error {
	switch value.(type) {
	case nil, []any, map[string]any:
		return errors.New("it must be one value")
	}
	text := fmt.Sprint(value)
	target := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: kong.Scan().PushTyped(text, kong.FlagValueToken)}, target); err != nil {
		return err
	}
	if flag.Enum != "" && !flag.EnumMap()[text] {
		return fmt.Errorf("%q is not one of %s", text, flag.Enum)
	}
	return nil
}

// place names where a setting has its value from, for an error about it.
func (f *fileSettings) place(flag string) string {
	if f.used[flag] {
		return fmt.Sprintf("configuration %s: %s", f.path, strings.ReplaceAll(flag, "-", "_"))
	}
	return "--" + flag
}

// Validate is part of kong.Resolver.
func (f *fileSettings) Validate(*kong.Application) error { return nil }

// Resolve gives kong the file's value of a flag that is not on the command line, unless the environment has one.
func (f *fileSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if f.env[name] {
			return nil, nil
		}
	}
	value, ok := f.values[flag.Name]
	if !ok {
		return nil, nil
	}
	f.used[flag.Name] = true
	return value, nil
}

// serviceFlags returns the flags of `serve`, which are all settings.
func serviceFlags(app *kong.Application) []*kong.Flag {
	for _, command := range app.Children {
		if command.Name == "serve" {
			return command.Flags
		}
	}
	return nil
}
