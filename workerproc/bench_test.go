package workerproc

import (
	"context"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkCall measures the round trip of a small call to one worker, by callers that come one after another and by
// callers that come at once.
func BenchmarkCall(b *testing.B) {
	for _, kind := range []string{"fake", "python"} {
		for _, callers := range []int{1, 16} {
			b.Run(kind+"/callers="+strconv.Itoa(callers), func(b *testing.B) {
				benchmarkCalls(b, benchWorker(b, kind), callers)
			})
		}
	}
}

func benchWorker(b *testing.B, kind string) *Worker {
	b.Helper()
	if kind == "fake" {
		return spawnFake(b, "good")
	}
	if _, err := exec.LookPath("python3"); err != nil {
		b.Skip(err)
	}
	return spawn(b, pythonConfig(b))
}

func benchmarkCalls(b *testing.B, w *Worker, callers int) {
	var left atomic.Int64
	left.Store(int64(b.N))
	deadline := time.Now().Add(time.Hour)
	args := []byte(`{"name":"Ada","excited":true}`)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				c := &Call{Command: "echo", Args: args, RequestID: "r-1", Deadline: deadline}
				if _, err := w.Call(context.Background(), c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// BenchmarkLargeCall measures the throughput of arguments and results of 1 MiB.
func BenchmarkLargeCall(b *testing.B) {
	args := make([]byte, 0, 1<<20)
	args = append(args, `{"a":"`...)
	for len(args) < 1<<20-2 {
		args = append(args, 'x')
	}
	args = append(args, `"}`...)
	for _, kind := range []string{"fake", "python"} {
		b.Run(kind, func(b *testing.B) {
			w := benchWorker(b, kind)
			b.SetBytes(int64(len(args)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Call(context.Background(), &Call{Command: "echo", Args: args, Deadline: time.Now().Add(patience)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSpawn measures a start up to READY and the stop.
func BenchmarkSpawn(b *testing.B) {
	cfg := pythonConfig(b)
	s := newSpawner(b, cfg)
	for b.Loop() {
		w, err := s.Spawn(b.Context(), 1, 1, nil)
		if err != nil {
			b.Fatal(err)
		}
		w.Stop(patience)
	}
}
