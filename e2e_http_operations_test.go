package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"charmer/api/client"
)

func TestWorkersTellWhatTheyDo(t *testing.T) {
	s := serveCalls(t)
	s.full(2)
	g := newGates(s)
	began := time.Now().Add(-time.Second) // clocks are read to the microsecond
	running := g.hold("a")
	s.execute("ping", `{}`, inSession("u1")).wantResult(t, "0")
	lease := s.lease()
	workers := s.workers()
	if len(workers) != 3 || !slices.IsSortedFunc(workers, func(a, b client.Worker) int { return int(a.ID - b.ID) }) {
		t.Fatalf("workers %+v, want two of the pool and one of the session, by id", workers)
	}
	for _, w := range workers {
		want := client.WorkerStateIdle
		switch {
		case len(w.Running) > 0:
			want = client.WorkerStateBusy
			if call := w.Running[0]; len(w.Running) != 1 || call.Command != "hold" || call.RequestID == "" || call.Since.Before(began) || call.Since.After(time.Now()) {
				t.Errorf("running %+v", w.Running)
			}
		case w.PID == lease.Worker.PID:
			want = client.WorkerStateLeased
			if w.LeaseExpiresAt == nil || w.LeaseExpiresAt.Sub(lease.ExpiresAt).Abs() > time.Microsecond {
				t.Errorf("lease ends at %v, was promised for %s", w.LeaseExpiresAt, lease.ExpiresAt)
			}
		default:
			if w.SessionID == nil || *w.SessionID != "u1" || w.Calls != 1 {
				t.Errorf("session's worker %+v", w)
			}
		}
		if w.State != want || w.Generation != 1 || w.StartMethod == nil || string(*w.StartMethod) != startMethod || w.ReadyAfterMs == nil || *w.ReadyAfterMs <= 0 || w.StartStage != nil {
			t.Errorf("worker %+v, want %s", w, want)
		}
		if err := syscall.Kill(int(w.PID), 0); err != nil {
			t.Errorf("worker %d: pid %d: %v", w.ID, w.PID, err)
		}
	}
	g.open("a")
	(<-running).wantResult(t, `"a"`)
}

func TestHealthTellsTheState(t *testing.T) {
	s := serveCalls(t, "--max-queue=7")
	s.full(2)
	g := newGates(s)
	running := g.hold("a")
	lease := s.lease()
	h := s.health()
	want := client.Health{
		State: client.HealthStateReady, Workers: client.WorkerCounts{Size: 2, Busy: 1, Leased: 1}, Queue: client.Queue{Limit: 7}, Zygote: h.Zygote,
		Generation: 1, StartMethod: client.HealthStartMethod(startMethod), UptimeMs: h.UptimeMs, Version: version,
	}
	if want := map[string]client.ZygoteState{"fork": "ready", "exec": "off"}[startMethod]; h.Zygote.State != want {
		t.Errorf("zygote %+v, want state %s", h.Zygote, want)
	}
	if diff := cmp.Diff(want, h); diff != "" || h.UptimeMs <= 0 {
		t.Errorf("health (-want +got):\n%s", diff)
	}
	waiter := make(chan answer, 1)
	go func() { waiter <- s.execute("ping", `{}`) }()
	s.queued(1)
	s.eventually("its wait has been seen to grow", func() bool { return s.health().Queue.OldestWaitMs > 10 })
	ready, err := s.GetReadyWithResponse(t.Context(), nil)
	if err != nil || ready.JSON200 == nil || ready.JSON200.Idle != 0 {
		t.Errorf("ready %+v, %v: a pool that is only busy is ready", ready, err)
	}
	s.raw("GET", "/health/ready?min_idle=0", "")
	refused := s.raw("GET", "/health/ready?min_idle=1", "")
	if refused.status != http.StatusServiceUnavailable || !refused.problem.Retryable {
		t.Errorf("with one idle worker asked for: %d %s", refused.status, refused.body)
	}
	live, err := s.GetLiveWithResponse(t.Context())
	if err != nil || live.JSON200 == nil || !live.JSON200.Live || live.JSON200.UptimeMs < h.UptimeMs {
		t.Errorf("live %+v, %v", live, err)
	}
	s.release(lease)
	(<-waiter).wantResult(t, "0")
	g.open("a")
	(<-running).wantResult(t, `"a"`)
}

func TestRecyclingReplacesAWorkerAndFailsNobody(t *testing.T) {
	s := serveCalls(t)
	s.full(2)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			for n := 0; !closed(stop); n++ {
				s.execute("ping", fmt.Sprintf(`{"n":%d}`, n)).wantResult(t, fmt.Sprint(n))
			}
		})
	}
	before := s.callsByPID()
	for _, w := range s.workers() {
		if r := s.raw(http.MethodPost, fmt.Sprintf("/workers/%d/recycle", w.ID), ""); r.status != http.StatusAccepted {
			t.Errorf("recycle: %d %s", r.status, r.body)
		}
	}
	s.eventually("both workers are replaced", func() bool {
		now := s.callsByPID()
		for pid := range before {
			if _, there := now[pid]; there {
				return false
			}
		}
		return len(now) == 2
	})
	close(stop)
	load.Wait()
	s.full(2)
	for pid := range before {
		if err := syscall.Kill(int(pid), 0); err != syscall.ESRCH {
			t.Errorf("pid %d: %v, want gone", pid, err)
		}
	}
	if got := s.stats().WorkerExits; got["recycle"] != 2 || got["crash"] != 0 || got["signal"] != 0 {
		t.Errorf("exits %v", got)
	}
}

func TestRecyclingWaitsForCallsAndLeasesAndLeavesSessionsAlone(t *testing.T) {
	s := serveCalls(t, "--workers=1")
	g := newGates(s)
	running := g.hold("a")
	busy := s.workers()[0]
	s.raw(http.MethodPost, fmt.Sprintf("/workers/%d/recycle", busy.ID), "")
	a := s.execute("ping", `{}`) // by the replacement, which is there first
	if a.Worker.PID == busy.PID {
		t.Errorf("answered by the busy worker %+v", busy)
	}
	g.open("a")
	held := <-running
	held.wantResult(t, `"a"`)
	if held.Worker.PID != busy.PID {
		t.Errorf("the call that ran ended on %+v", held.Worker)
	}
	s.eventually("it is gone then", func() bool { return len(s.workers()) == 1 && s.workers()[0].PID == a.Worker.PID })

	lease := s.lease()
	for range 2 { // the second time it is marked already
		s.raw(http.MethodPost, fmt.Sprintf("/workers/%d/recycle", lease.Worker.ID), "")
	}
	c := s.execute("ping", `{}`)
	if on := s.execute("ping", `{}`, onLease(lease.LeaseID)); on.Worker != lease.Worker || c.Worker == lease.Worker {
		t.Errorf("on the lease of %+v: %+v, off it %+v", lease.Worker, on.Worker, c.Worker)
	}
	s.release(lease)
	s.eventually("it is gone then", func() bool { return len(s.workers()) == 1 && s.workers()[0].PID == c.Worker.PID })
	s.raw(http.MethodPost, fmt.Sprintf("/workers/%d/recycle", lease.Worker.ID), "").wantProblem(t, http.StatusNotFound, "worker_not_found")

	b := s.execute("ping", `{}`, inSession("u1"))
	s.raw(http.MethodPost, fmt.Sprintf("/workers/%d/recycle", b.Worker.ID), "").wantProblem(t, http.StatusConflict, "not_recyclable")
}

func TestStatsCountWhatHappened(t *testing.T) {
	s := serveCalls(t)
	s.full(2)
	for range 3 {
		s.execute("ping", `{}`).wantResult(t, "0")
	}
	s.execute("fail", `{}`).wantProblem(t, 422, "command_failed", true)
	s.execute("ping", `{"m":1}`).wantProblem(t, 400, "invalid_args", false)
	s.execute("leave", `{}`).wantProblem(t, 502, "worker_crashed", true)
	s.full(2)
	s.execute("hold", newGates(s).args("never"), within(1000)).wantProblem(t, 504, "execution_timeout", true)
	s.full(2)
	s.release(s.lease())
	s.execute("ping", `{}`, inSession("u1")).wantResult(t, "0")
	s.endSession("u1")
	s.eventually("the session's worker has ended", func() bool { return s.stats().WorkerExits["session"] == 1 })

	got := s.stats()
	want := client.Stats{
		Workers: client.WorkerCounts{Size: 2, Idle: 2}, Queue: client.Queue{Limit: 1000},
		Checkouts:    client.CountByName{"ok": 8},
		Executions:   client.CountByName{"ok": 4, "app_error": 1, "invalid_args": 1, "crash": 1, "timeout": 1},
		WorkerStarts: client.CountByName{"ok": 4}, WorkerExits: client.CountByName{"crash": 1, "session": 1},
		BusyMs: got.BusyMs, ServiceTimeMs: got.ServiceTimeMs,
	}
	want.Leases.Granted, want.Leases.Released = 1, 1
	want.Sessions.Created, want.Sessions.Ended, want.Sessions.Limit = 1, 1, 256
	for _, counts := range []client.CountByName{got.Checkouts, got.Executions, got.WorkerStarts, got.WorkerExits} {
		maps.DeleteFunc(counts, func(_ string, n int64) bool { return n == 0 })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	if got.BusyMs < 500 || got.ServiceTimeMs <= 0 {
		t.Errorf("busy %v ms, service time %v ms; one call alone took most of 1000", got.BusyMs, got.ServiceTimeMs)
	}
}

func TestCommandsAreDescribed(t *testing.T) {
	s := serveCalls(t)
	r, err := s.ListCommandsWithResponse(t.Context())
	if err != nil || r.JSON200 == nil {
		t.Fatalf("commands: %v", err)
	}
	byName := map[string]client.Command{}
	var names []string
	for _, c := range r.JSON200.Commands {
		byName[c.Name] = c
		names = append(names, c.Name)
	}
	if want := []string{"call", "count", "depth", "fail", "hold", "leave", "note", "ping"}; !slices.Equal(names, want) || r.JSON200.Generation != 1 {
		t.Errorf("commands %q of generation %d, want %q", names, r.JSON200.Generation, want)
	}
	text := func(s string) *string { return &s }
	timeout := 20_000.0
	want := client.Command{Name: "fail", Idempotent: true, Isolation: client.CommandIsolationShared, Concurrency: 1, TimeoutMs: &timeout, Parameters: []client.Parameter{
		{Name: "code", Annotation: text("str")}, {Name: "status", Annotation: text("int")},
		{Name: "more", Annotation: text("object"), Variadic: true},
	},
		ArgsSchema:   json.RawMessage(`{"type":"object","properties":{"code":{"type":"string","default":""},"status":{"type":"integer","default":422}},"additionalProperties":true}`),
		ResultSchema: json.RawMessage(`{"type":"null"}`)}
	if diff := cmp.Diff(want, byName["fail"]); diff != "" {
		t.Errorf("fail (-want +got):\n%s", diff)
	}
	if c := byName["hold"]; c.Doc != "Say that it runs by a file, and return when another file is there." || !c.Parameters[0].Required || c.TimeoutMs != nil {
		t.Errorf("hold %+v", c)
	}
}

func TestTheContractIsServedAsItIs(t *testing.T) {
	s := servePatiently(t, "")
	file, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if r := s.raw(http.MethodGet, "/openapi.yaml", ""); !bytes.Equal(r.body, file) {
		t.Errorf("%d bytes that differ from the file's %d", len(r.body), len(file))
	}
	var want, got any // JSON is YAML, so that one reader makes both
	if err := yaml.Unmarshal(file, &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(s.raw(http.MethodGet, "/openapi.json", "").body, &got); err != nil {
		t.Fatal(err)
	}
	withoutCommands(got, want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("as JSON (-file +served):\n%s", diff)
	}
}

// withoutCommands takes out of a served document what the commands of the app have added to the contract: paths, schemas and their tag.
func withoutCommands(served, contract any) {
	for _, members := range [][]string{{"paths"}, {"components", "schemas"}} {
		all, known := served, contract
		for _, name := range members {
			all, known = all.(map[string]any)[name], known.(map[string]any)[name]
		}
		maps.DeleteFunc(all.(map[string]any), func(name string, _ any) bool { return known.(map[string]any)[name] == nil })
	}
	whole := served.(map[string]any)
	whole["tags"] = slices.DeleteFunc(whole["tags"].([]any), func(tag any) bool { return tag.(map[string]any)["name"] == "commands" })
}

// scrape reads the metrics as Prometheus does.
func (s *instance) scrape() map[string]*dto.MetricFamily {
	s.t.Helper()
	r := s.raw(http.MethodGet, "/metrics", "", "Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(r.body))
	if err != nil {
		s.t.Fatalf("metrics: %v", err)
	}
	return families
}

// gauge is the sum of a family over its labels.
func gauge(families map[string]*dto.MetricFamily, name string) (sum float64) {
	for _, m := range families[name].GetMetric() {
		sum += m.GetGauge().GetValue()
	}
	return sum
}

func TestEveryScrapeShowsTheWholePoolDuringChurn(t *testing.T) {
	const size = 3
	s := serveCalls(t, "--workers=3", "--start-parallelism=3") // so that each that dies is replaced at once
	s.full(size)
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for !closed(stop) {
			s.execute("leave", `{}`).wantProblem(t, 502, "worker_crashed", true)
		}
	})
	churn.Go(func() {
		for n := 0; !closed(stop); n++ {
			id := fmt.Sprintf("u%d", n)
			s.execute("ping", `{}`, inSession(id)).wantResult(t, "0")
			s.endSession(id)
		}
	})
	for s.stats().WorkerExits["crash"] < 10 {
		families := s.scrape()
		// A dead worker is counted as stopping until it is taken out, when its replacement may have begun.
		if sum := gauge(families, "charmer_pool_workers"); sum < size || sum > 2*size || gauge(families, "charmer_pool_workers_max") != size {
			t.Errorf("a scrape shows %v workers in all states, there should be %d", sum, size)
		}
		h, c := s.health().Workers, s.stats().Workers
		for _, w := range []client.WorkerCounts{h, c} {
			if w.Starting+w.Idle+w.Busy+w.Leased+w.Stopping != w.Size || w.Size < size || w.Size > 2*size {
				t.Errorf("states %+v", w)
			}
		}
	}
	close(stop)
	churn.Wait()
}

func TestMetricsAgreeWithStats(t *testing.T) {
	s := serveCalls(t)
	s.full(2)
	s.execute("ping", `{}`).wantResult(t, "0")
	s.execute("fail", `{}`).wantProblem(t, 422, "command_failed", true)
	lease := s.lease()
	s.execute("ping", `{}`, inSession("u1")).wantResult(t, "0")
	families, stats := s.scrape(), s.stats()
	values := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[strings.Join(append([]string{name}, labels...), " ")] =
				m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for key, want := range map[string]float64{
		"charmer_ready": 1, "charmer_build_info " + runtime.Version() + " " + version: 1, "charmer_lease_active": 1, "charmer_sessions": 1,
		"charmer_sessions_limit": 256, "charmer_pool_queue_limit": 1000, "charmer_pool_workers leased": 1, "charmer_pool_workers idle": 1,
		"charmer_worker_starts_total " + startMethod + " ok": 3, "charmer_worker_starts_total fork failed": 0,
		"charmer_worker_start_seconds " + startMethod + " total": 3, "charmer_worker_start_seconds " + startMethod + " spawn": 3,
		"charmer_worker_start_seconds " + startMethod + " handshake": 3, "charmer_worker_start_seconds fork import": 0,
		"charmer_worker_start_seconds exec import": map[string]float64{"exec": 3}[startMethod], "charmer_session_total created": 1,
		"charmer_lease_total granted": 1, "charmer_execute_duration_seconds ok": float64(stats.Executions["ok"]),
		"charmer_pool_queue_wait_seconds ok": float64(stats.Checkouts["ok"]), "charmer_checkout_total ok": float64(stats.Checkouts["ok"]),
		"charmer_execute_total app_error": 1, "charmer_worker_exits_total crash": 0,
	} {
		if got, ok := values[key]; got != want || !ok {
			t.Errorf("%s is %v (there: %v), want %v", key, got, ok, want)
		}
	}
	s.release(lease)
}
