package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
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
	Workers          int           `default:"0" validate:"min=0,max=10000" help:"Workers in the pool; 0 means one for each CPU."`
	StartParallelism int           `default:"0" validate:"min=0,max=1000" help:"Workers that start at the same time; 0 means one for each CPU."`
	MinReady         int           `default:"1" validate:"min=0" help:"Workers that must be up for the service to be ready."`
	Lazy             bool          `help:"Start workers when requests need them."`
	CheckoutTimeout  time.Duration `default:"5s" validate:"min=0" help:"Wait for a worker."`
	ExecuteTimeout   time.Duration `default:"30s" validate:"gt=0" help:"Wait and run of a call together; its worker is killed at the end."`
	StartTimeout     time.Duration `default:"30s" validate:"gt=0" help:"From the spawn of a worker until it is ready."`
	StopGrace        time.Duration `default:"2s" validate:"min=0" help:"Between asking a worker to stop and killing it."`
	LeaseTTL         time.Duration `name:"lease-ttl" default:"60s" validate:"gt=0" help:"How long a lease lasts unless renewed."`
	LeaseShare       float64       `default:"1" validate:"gt=0,max=1" help:"Share of the workers that leases may hold."`
	SessionIdle      time.Duration `default:"15m" validate:"gt=0" help:"A session ends when nothing has used it for this long."`
	SessionLifetime  time.Duration `default:"8h" validate:"gt=0" help:"A session ends after this long, used or not."`
	MaxSessions      int           `default:"256" validate:"min=1" help:"Sessions alive at once, a process each."`
	MaxQueue         int           `default:"1000" validate:"min=0" help:"Requests that wait for a worker."`
	MaxBody          size          `default:"8MiB" validate:"min=1" help:"Largest request body."`
	MaxFrame         size          `default:"64MiB" validate:"min=65536,max=4294967295" help:"Largest message to or from a worker, arguments or result."`
	DrainTimeout     time.Duration `default:"30s" validate:"min=0" help:"Time for running calls to finish after SIGTERM."`
	DrainDelay       time.Duration `default:"0s" validate:"min=0" help:"Between reporting not ready and refusing new calls."`
	Python           string        `default:"python3" validate:"required" help:"Interpreter, a path or a name in PATH."`
	WorkerCommand    string        `placeholder:"COMMAND" help:"Run this instead of Python: a worker that speaks docs/protocol.md."`
	Debug            bool          `help:"Log workers' output as it comes and show tracebacks to clients."`
	LogFormat        string        `default:"auto" enum:"auto,text,json" validate:"oneof=auto text json" help:"auto is text on a terminal and json otherwise (${enum})."`
	LogLevel         string        `default:"info" enum:"debug,info,warn,error" validate:"oneof=debug info warn error" help:"Least level that is logged (${enum})."`
	Config           string        `placeholder:"FILE" help:"YAML file of settings, named like the flags with _ for -."`
}

// finish fills in what depends on the machine and reports every problem at once.
func (s *settings) finish() error {
	if s.Workers == 0 {
		s.Workers = runtime.GOMAXPROCS(0)
	}
	if s.StartParallelism == 0 {
		s.StartParallelism = max(2, runtime.GOMAXPROCS(0))
	}
	err := validator.New(validator.WithRequiredStructEnabled()).Struct(s)
	var problems validator.ValidationErrors
	var lines []error
	if errors.As(err, &problems) {
		for _, p := range problems {
			lines = append(lines, fmt.Errorf("--%s: %v does not satisfy %s", flagName(p.StructField()), p.Value(), strings.TrimSpace(p.Tag()+" "+p.Param())))
		}
	} else if err != nil {
		lines = append(lines, err)
	}
	if _, port, err := net.SplitHostPort(s.Listen); err != nil {
		lines = append(lines, fmt.Errorf("--listen: %w", err))
	} else if _, err := net.LookupPort("tcp", port); err != nil {
		lines = append(lines, fmt.Errorf("--listen: %w", err))
	}
	if s.MinReady > s.Workers {
		lines = append(lines, fmt.Errorf("--min-ready: %d is more than the %d workers", s.MinReady, s.Workers))
	}
	if len(lines) > 0 {
		return &exitError{code: exitUsage, err: errors.Join(lines...)}
	}
	return nil
}

// flagName is the flag of a field, as kong derives it.
func flagName(field string) string {
	if field == "LeaseTTL" {
		return "lease-ttl"
	}
	var b strings.Builder
	for i, r := range field {
		if i > 0 && r >= 'A' && r <= 'Z' {
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
	values map[string]string // by flag name
	env    map[string]bool   // names of set environment variables
}

// readSettings reads the file that --config or CHARMER_CONFIG names, if any.
func readSettings(args, environ []string) (*fileSettings, error) {
	f := &fileSettings{values: map[string]string{}, env: map[string]bool{}}
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
		return f, nil
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var rows map[string]any
	if err := yaml.Unmarshal(text, &rows); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", f.path, err)
	}
	for key, value := range rows {
		f.values[strings.ReplaceAll(key, "_", "-")] = fmt.Sprint(value)
		if strings.Contains(key, "-") {
			return nil, fmt.Errorf("configuration %s: unknown key %q; keys have _ where flags have -", f.path, key)
		}
	}
	return f, nil
}

// Validate refuses keys that are no settings.
func (f *fileSettings) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, flag := range serviceFlags(app) {
		known[flag.Name] = true
	}
	delete(known, "config")
	for key := range f.values {
		if !known[key] {
			return fmt.Errorf("configuration %s: unknown key %q", f.path, strings.ReplaceAll(key, "-", "_"))
		}
	}
	return nil
}

// Resolve gives kong the file's value of a flag, unless the environment has one.
func (f *fileSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if f.env[name] {
			return nil, nil
		}
	}
	if value, ok := f.values[flag.Name]; ok {
		return value, nil
	}
	return nil, nil
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
