package handlers

import (
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charmer/api"
	"charmer/poolsvc"
)

// readyPool is a server with one stubWorker that is up.
func readyPool(t *testing.T, configure ...func(*poolsvc.Config)) checked {
	t.Helper()
	configure = append([]func(*poolsvc.Config){withStubs, func(cfg *poolsvc.Config) { cfg.Workers = 1 }}, configure...)
	c := newChecked(t, newTestServer(t, io.Discard, configure...))
	c.answer(t, "POST", "/execute", `{"command":"ok"}`)
	return c
}

// into reads a reply.
func into[T any](t *testing.T, c checked, path string) (out T) {
	t.Helper()
	w := c.answer(t, "GET", path, "")
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
		t.Fatalf("GET %s: %d %s, %v", path, w.Code, w.Body, err)
	}
	return out
}

func TestUsageIsMeasuredWhenItIsAskedFor(t *testing.T) {
	c := readyPool(t)
	for path, want := range map[string]bool{"/workers": false, "/workers?usage=false": false, "/workers?usage=true": true} {
		list := into[api.WorkerList](t, c, path).Workers
		if len(list) != 1 || (list[0].Usage != nil) != want {
			t.Errorf("%s: %+v", path, list)
		}
	}
	got := into[api.Worker](t, c, "/workers/1")
	if diff := cmp.Diff(&api.WorkerUsage{RssBytes: 3, PssBytes: 2, PrivateBytes: 1, CPUMs: 1000}, got.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if got.AgeMs <= 0 || got.StartMethod == nil || *got.StartMethod != "exec" || got.Calls != 1 || got.Replaces != nil {
		t.Errorf("%+v", got)
	}
	if w := c.answer(t, "GET", "/workers?usage=perhaps", ""); w.Code != 400 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := c.answer(t, "GET", "/workers/2", ""); w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestStackIsToldWithItsWorker(t *testing.T) {
	c := readyPool(t)
	got := into[api.WorkerStack](t, c, "/workers/1/stack")
	want := api.WorkerStack{Worker: api.WorkerRef{ID: 1, PID: 1001, Generation: 1}, State: "idle", Stack: "in read", TakenAt: got.TakenAt}
	if diff := cmp.Diff(want, got); diff != "" || time.Since(got.TakenAt) > time.Minute {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w := c.answer(t, "GET", "/workers/2/stack", ""); w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestStackOfAWorkerThatStarts(t *testing.T) {
	stack := "in import"
	c := newChecked(t, newTestServer(t, io.Discard, func(cfg *poolsvc.Config) {
		cfg.Workers = 1
		cfg.Spawn = func(ctx context.Context, _ int, _ uint64, progress func(int, string)) (poolsvc.Worker, error) {
			progress(1001, "import app")
			<-ctx.Done()
			return nil, ctx.Err()
		}
		cfg.StartingStack = func(uint64) string { return stack }
	}))
	for {
		got := into[api.WorkerStack](t, c, "/workers/1/stack")
		if got.Stack != stack || got.State != "starting" || got.StartStage == nil {
			t.Fatalf("%+v", got)
		}
		if *got.StartStage == "import app" { // else it has not come to that
			break
		}
	}
	stack = ""
	if w := c.answer(t, "GET", "/workers/1/stack", ""); w.Code != 409 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestReplacementTellsHowTheOneBeforeEnded(t *testing.T) {
	c := readyPool(t)
	c.answer(t, "POST", "/workers/1/recycle", "")
	for {
		if w := c.answer(t, "GET", "/workers/1", ""); w.Code == 404 {
			break
		}
	}
	got := into[api.Worker](t, c, "/workers/2")
	if r := got.Replaces; r == nil || r.ID != 1 || r.PID != 1001 || r.ExitReason != "recycle" || time.Since(r.At) > time.Minute {
		t.Errorf("%+v replaces %+v", got, got.Replaces)
	}
}
