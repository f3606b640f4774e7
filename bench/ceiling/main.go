// Ceiling is charmer without Python: its handlers and its pool, over workers in memory that answer the command echo at once. What
// it reaches is the most that charmer can.
//
//	ceiling [-listen 127.0.0.1:8080] [-workers 2]     in the folder of openapi.yaml
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"charmer/handlers"
	"charmer/poolsvc"
	"charmer/workerproc"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address")
	workers := flag.Int("workers", 2, "workers in memory")
	flag.Parse()
	if err := serve(*listen, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "ceiling:", err)
		os.Exit(1)
	}
}

// serve does what `charmer serve` does, with its defaults, until a signal.
func serve(listen string, workers int) error {
	contract, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	pool := poolsvc.New(poolsvc.Config{
		Spawn: func(_ context.Context, _ int, id uint64, _ func(int, string)) (poolsvc.Worker, error) {
			return &worker{id: id, done: make(chan struct{})}, nil
		},
		Retire: func(int) {}, Renew: func(int) {}, Zygote: func(int) workerproc.ZygoteStatus { return workerproc.ZygoteStatus{} },
		Workers: workers, MinWorkers: workers, MinReady: workers, ScaleDownAfter: time.Minute, StartParallelism: 2, StartTimeout: 30 * time.Second,
		CheckoutTimeout: 5 * time.Second, ExecuteTimeout: 30 * time.Second, StopGrace: time.Second, MaxQueue: 1000, LeaseTTL: time.Minute, LeaseShare: 1,
		SessionIdle: 15 * time.Minute, SessionLifetime: 8 * time.Hour, MaxSessions: 256, Log: log,
	})
	defer pool.Close(context.Background())
	handler, err := handlers.New(handlers.Config{Pool: pool, Log: log, Contract: contract, Version: "ceiling", MaxBody: 64 << 20})
	if err != nil {
		return err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Addr: listen, Handler: handler, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() { // ends with the signal
		<-ctx.Done()
		_ = server.Close() // whoever measures has left
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
