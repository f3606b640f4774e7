package poolsvc

import (
	"context"
	"fmt"
	"testing"
	"time"

	"charmer/workerproc"
)

// quick answers at once and remembers nothing, so that the pool is what is measured.
type quick struct{ *fakeWorker }

func (quick) Call(_ context.Context, c *workerproc.Call) (workerproc.Reply, error) {
	return workerproc.Reply{Result: c.Args}, nil
}

func benchPool(b *testing.B, changes ...func(*Config)) *Pool {
	b.Helper()
	f := newFactory()
	p := openPool(f, append(changes, func(c *Config) {
		c.MaxSessions = 2000
		c.Spawn = func(ctx context.Context, generation int, id uint64, progress func(int, string)) (Worker, error) {
			w, err := f.spawn(ctx, generation, id, progress)
			if err != nil {
				return nil, err
			}
			return quick{w.(*fakeWorker)}, nil
		}
	})...)
	b.Cleanup(func() {
		p.Close(context.Background())
		wantNothingLeft(b, p, f)
	})
	var held []LeaseInfo
	for range p.cfg.Workers { // until all are up
		l, err := p.Checkout(b.Context(), CheckoutRequest{})
		if err != nil {
			b.Fatal(err)
		}
		held = append(held, l)
	}
	for _, l := range held {
		_ = p.Release(l.ID)
	}
	b.ReportAllocs()
	return p
}

func openSessions(b *testing.B, p *Pool, n int) {
	b.Helper()
	for i := range n {
		if _, err := p.Execute(b.Context(), in(fmt.Sprint("u", i), echo)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckoutAndRelease(b *testing.B) {
	p := benchPool(b, workers(4))
	for b.Loop() {
		l, err := p.Checkout(b.Context(), CheckoutRequest{})
		if err != nil {
			b.Fatal(err)
		}
		_ = p.Release(l.ID)
	}
}

func BenchmarkCheckoutAndReleaseInParallel(b *testing.B) {
	for _, clients := range []int{2, 64} {
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			p := benchPool(b, workers(4))
			b.SetParallelism(clients / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l, err := p.Checkout(context.Background(), CheckoutRequest{})
					if err != nil {
						b.Error(err)
						return
					}
					_ = p.Release(l.ID)
				}
			})
		})
	}
}

var benchCall = Request{Command: "echo", Args: []byte(`{"name":"Ada"}`), RequestID: "r-1"}

func BenchmarkExecute(b *testing.B) {
	for _, sessions := range []int{0, 1000} { // that rest beside the pool
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			p := benchPool(b, workers(4))
			openSessions(b, p, sessions)
			for b.Loop() {
				if _, err := p.Execute(b.Context(), benchCall); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkExecuteInParallel(b *testing.B) {
	for _, clients := range []int{2, 64} {
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			p := benchPool(b, workers(4))
			b.SetParallelism(clients / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := p.Execute(context.Background(), benchCall); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// The promise is that a call with 1,000 live sessions takes at most 1.2 times that with one.
func BenchmarkExecuteInSession(b *testing.B) {
	for _, sessions := range []int{1, 1000} {
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			p := benchPool(b, workers(1))
			openSessions(b, p, sessions)
			for b.Loop() {
				if _, err := p.Execute(b.Context(), in("u0", benchCall)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The janitor's round, which every release of a session asks for.
func BenchmarkSweep(b *testing.B) {
	for _, sessions := range []int{0, 1000} {
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			p := benchPool(b, workers(4))
			openSessions(b, p, sessions)
			for b.Loop() {
				p.sweep(time.Now())
			}
		})
	}
}

func BenchmarkStats(b *testing.B) {
	for _, sessions := range []int{0, 1000} {
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			p := benchPool(b, workers(4))
			openSessions(b, p, sessions)
			for b.Loop() {
				p.Stats()
			}
		})
	}
}
