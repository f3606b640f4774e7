package main

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"pgregory.net/rapid"
)

func TestASizeReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := size(rapid.Int64Range(0, 1<<53).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "round") {
			want &^= 1<<rapid.IntRange(0, 40).Draw(t, "bits") - 1
		}
		var got size
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Errorf("%d is written %s, which is read as %d, %v", int64(want), want, int64(got), err)
		}
	})
}

func TestAnyTextIsASizeOrAnError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[-+]?[0-9.eEx_]{0,30} ?([KMG]i?)?B?`)).Draw(t, "text")
		got := size(-1)
		err := got.UnmarshalText([]byte(text))
		if (err == nil) != (got >= 0) {
			t.Errorf("%q is read as %d, %v", text, int64(got), err)
		}
		if err != nil && !strings.Contains(err.Error(), "8MiB") {
			t.Errorf("the error shows no good size: %v", err)
		}
	})
}

func TestSizesHaveBinaryAndDecimalUnits(t *testing.T) {
	for text, want := range map[string]size{
		"0": 0, "1": 1, "1B": 1, "8MiB": 8 << 20, "8 MiB": 8 << 20, "1.5KiB": 1536, "64KB": 64_000, "2MB": 2_000_000, "1GB": 1e9, "3GiB": 3 << 30, "1e3": 1000,
	} {
		var got size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is read as %d, %v, want %d", text, int64(got), err, int64(want))
		}
	}
	for _, text := range []string{"", " ", "MiB", "-1", "-1MiB", "8mib", "8M", "8 Mi B", "NaN", "Inf", "InfB", "1e300", "9223372036854775808", "0x", "1,5MiB", "8MiBB"} {
		got := size(7)
		if err := got.UnmarshalText([]byte(text)); err == nil || got != 7 {
			t.Errorf("%q is read as %d, %v, want an error", text, int64(got), err)
		}
	}
	if got := size(math.MaxInt64).String(); got != "9223372036854775807B" {
		t.Errorf("the largest size is written %s", got)
	}
}

// parsed returns the settings that a command line gives, without environment and file.
func parsed(t *testing.T, args ...string) settings {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "CHARMER_") {
			t.Setenv(name, "") // to have it back afterwards
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	var c cli
	parser, err := kong.New(&c, kong.DefaultEnvars("CHARMER"), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	return c.Serve.settings
}

func TestTheDefaultsRunAndAreThoseOfTheDesign(t *testing.T) {
	s := parsed(t)
	if err := s.finish(&fileSettings{}); err != nil {
		t.Fatal(err)
	}
	want := settings{
		Listen: "127.0.0.1:8080", Workers: s.Workers, MinWorkers: s.Workers, MaxWorkers: s.Workers, ScaleDownAfter: time.Minute, StartParallelism: s.StartParallelism, MinReady: 1, CheckoutTimeout: 5 * time.Second,
		ExecuteTimeout: 30 * time.Second, CancelGrace: time.Second, Concurrency: 100, Prefetch: 4, LoopStall: time.Second, StartTimeout: 30 * time.Second, StopGrace: 2 * time.Second, LeaseTTL: time.Minute, LeaseShare: 1, Spares: -1,
		SessionIdle: 15 * time.Minute, SessionLifetime: 8 * time.Hour, MaxSessions: 256, MaxQueue: 1000, MaxBody: 8 << 20, MaxFrame: 64 << 20,
		DrainTimeout: 30 * time.Second, PreloadThreads: "refuse", Python: "python3", LogFormat: "auto", LogLevel: "info",
	}
	if s != want {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	if s.Workers < 1 || s.StartParallelism < 2 {
		t.Errorf("%d workers, %d of them starting together", s.Workers, s.StartParallelism)
	}
}

// TestEverySettingIsDocumentedAndNamedAlike walks the flags as kong derives them from the struct.
func TestEverySettingIsDocumentedAndNamedAlike(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.DefaultEnvars("CHARMER"))
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]*kong.Flag{}
	for _, flag := range serviceFlags(parser.Model) {
		flags[flag.Name] = flag
		if flag.Name == "help" {
			continue
		}
		env := "CHARMER_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		if len(flag.Envs) != 1 || flag.Envs[0] != env || flag.Help == "" || !strings.HasSuffix(strings.TrimSuffix(flag.Help, "(${enum})."), ".") && !strings.Contains(flag.Help, "(") {
			t.Errorf("--%s: environment %q, want %s; help %q", flag.Name, flag.Envs, env, flag.Help)
		}
	}
	for field := range reflect.TypeFor[settings]().Fields() {
		if flags[flagName(field.Name)] == nil {
			t.Errorf("field %s would be reported as --%s, which is no flag", field.Name, flagName(field.Name))
		}
	}
}

func TestFinishReportsEveryProblemAtOnce(t *testing.T) {
	s := parsed(t)
	s.Workers, s.ExecuteTimeout, s.LeaseShare, s.MaxFrame, s.Listen, s.LogLevel, s.Python = 10_001, 0, math.NaN(), 1, "x", "loud", ""
	err := s.finish(&fileSettings{})
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != exitUsage {
		t.Fatalf("error %v, want an exit code", err)
	}
	for _, flag := range []string{"--workers", "--execute-timeout", "--lease-share", "--max-frame", "--listen", "--log-level", "--python"} {
		if strings.Count(err.Error(), flag+": ") != 1 {
			t.Errorf("%s is not reported once in:\n%v", flag, err)
		}
	}
}

func TestALazyPoolNeedsAQueue(t *testing.T) {
	for _, tt := range []struct {
		args []string
		good bool
	}{{[]string{"--lazy"}, true}, {[]string{"--max-queue=0"}, true}, {[]string{"--lazy", "--max-queue=1"}, true}, {[]string{"--lazy", "--max-queue=0"}, false}} {
		s := parsed(t, tt.args...)
		if err := s.finish(&fileSettings{}); (err == nil) != tt.good {
			t.Errorf("%q: %v, want good %v", tt.args, err, tt.good)
		}
	}
}

func TestTheBoundsOfThePoolAgree(t *testing.T) {
	cpus := runtime.GOMAXPROCS(0)
	for _, tt := range []struct {
		args     string
		min, max int
		wrong    string
	}{
		{"", cpus, cpus, ""},
		{"--workers=3", 3, 3, ""},
		{"--min-workers=2 --max-workers=8", 2, 8, ""},
		{"--workers=4 --min-workers=2", 2, 4, ""},
		{"--workers=4 --max-workers=8", 4, 8, ""},
		{"--workers=4 --min-workers=4 --max-workers=4", 4, 4, ""},
		{"--workers=8 --min-workers=2 --max-workers=8", 2, 8, ""}, // as charmer config prints it
		{"--min-workers=100", 100, 100, ""},
		{"--max-workers=1", 1, 1, ""},
		{"--max-workers=100", cpus, 100, ""},
		{"--lazy --workers=4", 0, 4, ""},
		{"--lazy --max-workers=4", 0, 4, ""},
		{"--min-workers=3 --max-workers=2", 0, 0, "--min-workers: 3 is more than the 2 of max-workers"},
		{"--workers=2 --min-workers=3", 0, 0, "--workers: 2 is less than the 3 of min-workers"},
		{"--workers=3 --max-workers=2", 0, 0, "--workers: 3 is more than the 2 of max-workers"},
		{"--lazy --min-workers=1", 0, 0, "--min-workers: 1 with --lazy, which keeps none"},
		{"--min-workers=2 --max-workers=8 --min-ready=3", 0, 0, "--min-ready: 3 is more than the 2 workers"},
		{"--max-workers=10001", 0, 0, "--max-workers: 10001 does not satisfy max 10000"},
	} {
		s := parsed(t, strings.Fields(tt.args)...)
		err := s.finish(&fileSettings{})
		switch {
		case tt.wrong != "":
			if err == nil || err.Error() != tt.wrong {
				t.Errorf("%s: error %v, want %s", tt.args, err, tt.wrong)
			}
		case err != nil || s.MinWorkers != tt.min || s.MaxWorkers != tt.max || s.Workers != tt.max:
			t.Errorf("%s: %d to %d, workers %d, error %v; want %d to %d", tt.args, s.MinWorkers, s.MaxWorkers, s.Workers, err, tt.min, tt.max)
		}
	}
}

func TestAFileIsOneMappingOrNothing(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "# nothing\n": true, "---\nworkers: 1\n": true, "workers: 1\n...\n": true, "{}": true,
		"--- {}\n--- {}\n": false, "workers: 1\n---\nlazy: true\n": false, "- 1\n": false, "workers": false,
	} {
		path := filepath.Join(t.TempDir(), "charmer.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readDocument(path); (err == nil) != good || (err != nil && !strings.Contains(err.Error(), path)) {
			t.Errorf("%q: %v, want good %v", text, err, good)
		}
	}
}

func TestListenTakesHostsAndPorts(t *testing.T) {
	for listen, good := range map[string]bool{
		"127.0.0.1:0": true, ":8080": true, "[::1]:8080": true, "localhost:http": true, "0.0.0.0:65535": true,
		"": false, "8080": false, "localhost": false, "localhost:65536": false, "localhost:-1": false, "localhost:nope-nope": false, "[::1:80": false, "a:b:c": false,
	} {
		s := parsed(t)
		s.Listen = listen
		if err := s.finish(&fileSettings{}); (err == nil) != good {
			t.Errorf("%q: %v, want good %v", listen, err, good)
		}
	}
}
