package workerproc

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// usage measures a worker, where the system can.
func usage(t testing.TB, w *Worker) Usage {
	t.Helper()
	u, err := w.Usage()
	if runtime.GOOS != "linux" && errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUsageGrowsWithWhatAWorkerKeeps(t *testing.T) {
	w, _ := spawnPython(t)
	spawnPython(t) // so that the pages of Python's files are shared all the while, whatever else runs on this machine
	before := usage(t, w)
	if before.Private <= 0 || before.PSS < before.Private || before.RSS < before.PSS {
		t.Errorf("usage = %+v, want 0 < private <= PSS <= RSS", before)
	}
	const kept = 40 << 20
	mustCall(t, w, "run", `{"source":"KEPT = bytearray(b'x' * 41943040)\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"}`)
	after := usage(t, w)
	if grown := after.Private - before.Private; grown < kept*9/10 { // other pages may have been given back
		t.Errorf("private memory grew by %d bytes, want %d", grown, kept)
	}
	if grown := after.CPU - before.CPU; grown < 190*time.Millisecond {
		t.Errorf("processor time grew by %s, want 0.2 s", grown)
	}
}

func TestUsageOfADeadWorkerIsAnError(t *testing.T) {
	w := spawnFake(t, "good")
	usage(t, w)
	w.Kill()
	for { // until the kernel has buried it, a killed process may still be measured
		if _, err := w.Usage(); err != nil {
			if !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("while it dies: %v", err)
			}
			break
		}
	}
	awaitDone(t, w)
	if u, err := w.Usage(); !errors.Is(err, os.ErrProcessDone) || u != (Usage{}) {
		t.Errorf("after its death: %+v, %v", u, err)
	}
}

func TestUsageReadsWhatTheKernelWrites(t *testing.T) {
	rollup := "55d0-7ffd ---p 00000000 00:00 0                          [rollup]\nRss:  1728 kB\nPss:   319 kB\nPss_Dirty: 112 kB\nShared_Clean: 1548 kB\n" +
		"Private_Clean: 68 kB\nPrivate_Dirty: 112 kB\nShared_Hugetlb: 5 kB\nPrivate_Hugetlb: 2048 kB\nSwap: 99 kB\nSwapPss: 7 kB\n"
	want := Usage{RSS: 1728 << 10, PSS: 319 << 10, Private: (68 + 112 + 2048 + 7) << 10}
	if diff := cmp.Diff(want, parseRollup([]byte(rollup))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	stat := "7698 (a ) 1 2) R 7689 7689 24678 0 -1 4194304 99 0 0 0 150 7 3 4 20 0 1 0 1288705 3133440\n"
	if got, err := parseCPU([]byte(stat)); err != nil || got != 1570*time.Millisecond {
		t.Errorf("processor time = %s, %v", got, err)
	}
	for _, bad := range []string{"", "1 (x) R", "7698 (cat) R 7689 7689 24678 0 -1 4194304 99 0 0 0 x 7 3 4"} {
		if got, err := parseCPU([]byte(bad)); err == nil {
			t.Errorf("processor time of %q = %s", bad, got)
		}
	}
}
