package workerproc

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var allLimits = Limits{Memory: 256 << 20, CPU: 10 * time.Second, Files: 64, Processes: 20}

func TestLimitsAreWrittenForPeopleAndForPython(t *testing.T) {
	for _, tt := range []struct {
		limits           Limits
		people, variable string
	}{
		{Limits{}, "", "{}"},
		{allLimits, "memory 256MiB, CPU 10s, files 64, processes 20",
			`{"RLIMIT_DATA":[268435456,268435456],"RLIMIT_CPU":[10,11],"RLIMIT_NOFILE":[64,64],"RLIMIT_NPROC":[20,20]}`},
		{Limits{Memory: 20_000_000, CPU: 2 * time.Hour}, "memory 20000000B, CPU 2h0m0s", `{"RLIMIT_DATA":[20000000,20000000],"RLIMIT_CPU":[7200,7201]}`},
	} {
		if got := tt.limits.String(); got != tt.people {
			t.Errorf("%+v for people: %q, want %q", tt.limits, got, tt.people)
		}
		if got := tt.limits.variable(); got != "CHARMER_WORKER_LIMITS="+tt.variable {
			t.Errorf("%+v for Python: %s, want %s", tt.limits, got, tt.variable)
		}
	}
}

func TestALimitAboveThatOfTheServiceIsAnError(t *testing.T) {
	var own syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Command: []string{"true"}, Limits: Limits{Files: int(own.Max)}}
	s, err := NewSpawner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	cfg.Limits.Files++
	if s, err := NewSpawner(cfg); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("RLIMIT_NOFILE of charmer itself, %d", own.Max)) {
		t.Errorf("%v and %v, want an error", s, err)
	}
}

func TestAnExitNamesTheLimitThatEndedIt(t *testing.T) {
	const cpu = "; it had used up its CPU limit of 10s"
	tests := map[string]struct {
		exit Exit
		cpu  time.Duration
		none bool // limits
		want Limit
		ends string
	}{
		"soft limit":            {exit: Exit{Code: -1, Signal: syscall.SIGXCPU, Cause: CauseCrash}, want: LimitCPU, ends: "(SIGXCPU)" + cpu},
		"soft limit in a stop":  {exit: Exit{Code: -1, Signal: syscall.SIGXCPU, Cause: CauseStopped}, want: LimitCPU, ends: cpu},
		"hard limit":            {exit: Exit{Code: -1, Signal: syscall.SIGKILL, Cause: CauseCrash}, cpu: 11 * time.Second, want: LimitCPU, ends: "(SIGKILL)" + cpu},
		"killed early":          {exit: Exit{Code: -1, Signal: syscall.SIGKILL, Cause: CauseCrash}, cpu: 9 * time.Second, ends: "(SIGKILL)"},
		"killed by us":          {exit: Exit{Code: -1, Signal: syscall.SIGKILL, Cause: CauseKilled}, cpu: 11 * time.Second, ends: "by charmer"},
		"out of time":           {exit: Exit{Code: -1, Signal: syscall.SIGKILL, Cause: CauseTimeout}, cpu: 11 * time.Second, ends: "ran out of time"},
		"killed for memory":     {exit: Exit{Code: -1, Signal: syscall.SIGKILL, Cause: CauseCrash, OOMSuspected: true}, cpu: 11 * time.Second, ends: "lack of memory"},
		"exit after much":       {exit: Exit{Code: 1, Cause: CauseCrash}, cpu: time.Minute, ends: "code 1"},
		"no limits":             {none: true, exit: Exit{Code: -1, Signal: syscall.SIGXCPU, Cause: CauseCrash, StderrTail: []string{"MemoryError"}}, cpu: time.Hour, ends: "(SIGXCPU)"},
		"a crash that says why": {exit: Exit{Code: -1, Signal: syscall.SIGABRT, Cause: CauseCrash, StderrTail: []string{"what(): std::bad_alloc", "last"}}, want: LimitMemory, ends: "(SIGABRT); the worker's limit of memory (256MiB) may be why"},
		"a stop that says why":  {exit: Exit{Code: 0, Cause: CauseStopped, StderrTail: []string{"MemoryError"}}, ends: "code 0"},
	}
	for name, tt := range tests {
		limits := allLimits
		if tt.none {
			limits = Limits{}
		}
		for range 2 { // it is judged anew for each call
			tt.exit.judge(limits, tt.cpu)
			if tt.exit.Limit != tt.want || !strings.HasSuffix(tt.exit.Reason, tt.ends) {
				t.Errorf("%s: limit %q, reason %q, want %q and %q", name, tt.exit.Limit, tt.exit.Reason, tt.want, tt.ends)
			}
		}
	}
}

func TestAnErrorNamesTheLimitThatMayBeWhy(t *testing.T) {
	for _, tt := range []struct {
		raised CommandError
		limits Limits
		want   Limit
	}{
		{CommandError{Kind: KindException, Type: "MemoryError"}, allLimits, LimitMemory},
		{CommandError{Kind: KindBadResult, Type: "MemoryError"}, allLimits, LimitMemory},
		{CommandError{Kind: KindException, Type: "numpy._core._exceptions._ArrayMemoryError", Message: "Unable to allocate 8 GiB"}, allLimits, LimitMemory},
		{CommandError{Kind: KindException, Type: "OSError", Message: "[Errno 12] Cannot allocate memory"}, allLimits, LimitMemory},
		{CommandError{Kind: KindException, Type: "OSError", Message: "[Errno 24] Too many open files: 'x'"}, allLimits, LimitFiles},
		{CommandError{Kind: KindException, Type: "BlockingIOError", Message: "[Errno 11] Resource temporarily unavailable"}, allLimits, LimitProcesses},
		{CommandError{Kind: KindException, Type: "RuntimeError", Message: "can't start new thread"}, allLimits, LimitProcesses},
		{CommandError{Kind: KindException, Type: "RuntimeError", Message: "can't start new thread"}, Limits{Memory: 1 << 30}, LimitMemory},
		{CommandError{Kind: KindException, Type: "MemoryError"}, Limits{CPU: time.Second, Files: 1, Processes: 1}, ""},
		{CommandError{Kind: KindException, Type: "ValueError", Message: "no such row"}, allLimits, ""},
		{CommandError{Kind: KindCommandError, Message: "MemoryError"}, allLimits, ""},
		{CommandError{Kind: KindInvalidArgs, Message: "MemoryError"}, allLimits, ""},
	} {
		got := tt.raised
		tt.limits.explain(&got)
		name, value := tt.limits.words(tt.want)
		if hinted := strings.Contains(got.Hint, name+" ("+value+")"); got.Limit != tt.want || hinted != (tt.want != "") {
			t.Errorf("%+v: limit %q, hint %q, want %q", tt.raised, got.Limit, got.Hint, tt.want)
		}
	}
}

func TestOnlyAllowedVariablesArePassed(t *testing.T) {
	environ := []string{"PATH=/bin", "AWS_SECRET=s", "AWS_REGION=eu", "LC_ALL=C", "LC=x", "PYTHONPATH=/p", "HOME=/h", "HOMER=d'oh", "OMP_NUM_THREADS=8", "=odd", "NOVALUE"}
	basic := []string{"PATH=/bin", "LC_ALL=C", "PYTHONPATH=/p", "HOME=/h", "OMP_NUM_THREADS=8"}
	for _, tt := range []struct{ allowed, more []string }{
		{[]string{"NONE"}, nil}, {[]string{"AWS_REGION"}, []string{"AWS_REGION=eu"}}, {[]string{"AWS_*"}, []string{"AWS_SECRET=s", "AWS_REGION=eu"}},
		{[]string{"HOME*", "LC"}, []string{"LC=x", "HOMER=d'oh"}}, {[]string{"AWS"}, nil},
	} {
		want := map[string]bool{}
		for _, entry := range append(tt.more, basic...) {
			want[entry] = true
		}
		got := map[string]bool{}
		for _, entry := range passed(environ, tt.allowed) {
			got[entry] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.allowed, diff)
		}
	}
	for _, allowed := range [][]string{nil, {"*"}} {
		if diff := cmp.Diff(environ, passed(environ, allowed)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", allowed, diff)
		}
	}
}

func TestProcessorsAreAListOfNumbersAndRanges(t *testing.T) {
	for text, want := range map[string][]int{"0": {0}, "0-3,6": {0, 1, 2, 3, 6}, "6, 0-1,1": {0, 1, 6}, "1023": {1023}, "2-2": {2}} {
		if got, err := ParseCPUs(text); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ",", "0,", "3-1", "-1", "1-", "1024", "0-1024", "a", "0x1", "1-2-3", "+1"} {
		if got, err := ParseCPUs(text); err == nil {
			t.Errorf("%q is %v, want an error", text, got)
		}
	}
}

func TestUsersAreFoundByNameAndNumber(t *testing.T) {
	root := identity{environ: []string{"HOME=/root", "USER=root", "LOGNAME=root"}}
	for text, want := range map[string]identity{
		"0:7":           {syscall.Credential{Gid: 7, Groups: []uint32{7}}, root.environ},
		"root:0":        {syscall.Credential{Groups: []uint32{0}}, root.environ},
		"64123:64124":   {syscall.Credential{Uid: 64123, Gid: 64124, Groups: []uint32{64124}}, []string{"HOME=/"}},
		"64123:root":    {syscall.Credential{Uid: 64123, Groups: []uint32{0}}, []string{"HOME=/"}},
		"4294967294:65": {syscall.Credential{Uid: 4294967294, Gid: 65, Groups: []uint32{65}}, []string{"HOME=/"}},
	} {
		got, err := lookUp(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !cmp.Equal(got.credential, want.credential) || len(got.environ) != len(want.environ) {
			t.Errorf("%s is %+v, want %+v", text, got, want)
		}
	}
	if got, err := lookUp("root"); err != nil || got.credential.Uid != 0 || got.credential.Gid != 0 || len(got.credential.Groups) == 0 || got.environ[1] != "USER=root" {
		t.Errorf("root is %+v, %v", got, err)
	}
	for _, text := range []string{"", ":", "64123", "no-such-user", "no-such-user:0", "0:no-such-group", "root:", ":0", "4294967295:0", "0:4294967295", "-1:0", "0:0:0"} {
		if got, err := lookUp(text); err == nil {
			t.Errorf("%q is %+v, want an error", text, got)
		}
	}
}
