package handlers

import (
	"context"
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"charmer/poolsvc"
	"charmer/workerproc"
)

// stubWorker is a worker that gives each call the answer in its name.
type stubWorker struct {
	pid  int
	once sync.Once
	done chan struct{}
}

func (w *stubWorker) PID() int { return w.pid }
func (w *stubWorker) Call(_ context.Context, c *workerproc.Call) (workerproc.Reply, error) {
	if c.Command == "fail" {
		return workerproc.Reply{}, &workerproc.CommandError{Kind: workerproc.KindException, Type: "ValueError", Message: "m"}
	}
	return workerproc.Reply{Result: []byte(`"ok"`)}, nil
}
func (w *stubWorker) Stop(time.Duration) workerproc.Exit {
	w.Kill()
	return w.Exit()
}
func (w *stubWorker) Kill()                 { w.once.Do(func() { close(w.done) }) }
func (w *stubWorker) TakesAhead() bool      { return false }
func (w *stubWorker) Withdraw()             {}
func (w *stubWorker) Done() <-chan struct{} { return w.done }
func (w *stubWorker) Exit() workerproc.Exit { return workerproc.Exit{Cause: workerproc.CauseStopped} }
func (w *stubWorker) HasHook(string) bool   { return false }
func (w *stubWorker) Commands() []workerproc.Command {
	return []workerproc.Command{{Name: "ok"}, {Name: "fail"}}
}
func (w *stubWorker) ReadyAfter() time.Duration { return time.Millisecond }
func (w *stubWorker) StartMethod() string       { return "exec" }
func (w *stubWorker) Phases() workerproc.Phases {
	return workerproc.Phases{Spawn: time.Microsecond, Import: time.Microsecond, Handshake: time.Microsecond}
}
func (w *stubWorker) Stack() string { return "in read" }
func (w *stubWorker) Usage() (workerproc.Usage, error) {
	return workerproc.Usage{RSS: 3, PSS: 2, Private: 1, CPU: time.Second}, nil
}
func (w *stubWorker) Healthy() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

// withStubs has a pool start stubWorkers.
func withStubs(cfg *poolsvc.Config) {
	cfg.Spawn = func(_ context.Context, _ int, id uint64, _ func(int, string)) (poolsvc.Worker, error) {
		return &stubWorker{pid: 1000 + int(id), done: make(chan struct{})}, nil
	}
}

// scraped returns the families of one scrape.
func scraped(t *testing.T, s *Server) (text string, families map[string]*dto.MetricFamily) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(w.Body.String()))
	if err != nil || w.Code != 200 {
		t.Fatalf("%d %v\n%s", w.Code, err, w.Body)
	}
	return w.Body.String(), families
}

// series lists what a scrape has of charmer's own: names with labels, without values.
func series(families map[string]*dto.MetricFamily) (names []string) {
	for name, family := range families {
		if !strings.HasPrefix(name, "charmer_") {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			names = append(names, name+"{"+strings.Join(labels, ",")+"}")
		}
	}
	slices.Sort(names)
	return names
}

// TestTheSetOfSeriesIsClosed compares a pool that has done nothing with one that has: rates work from the first event.
func TestTheSetOfSeriesIsClosed(t *testing.T) {
	_, before := scraped(t, newTestServer(t, io.Discard))
	s := newTestServer(t, io.Discard, withStubs, func(cfg *poolsvc.Config) { cfg.Workers = 1 })
	c := newChecked(t, s)
	c.answer(t, "POST", "/execute", `{"command":"ok"}`)
	c.answer(t, "POST", "/execute", `{"command":"fail"}`)
	c.answer(t, "POST", "/execute", `{"command":"ok","session_id":"u1"}`)
	c.answer(t, "POST", "/checkout", `{"type":"session","session_id":"u2","timeout_ms":60000}`)
	c.answer(t, "DELETE", "/sessions/u1", "")
	_, after := scraped(t, s)
	if diff := cmp.Diff(series(before), series(after)); diff != "" {
		t.Errorf("series (-before +after work):\n%s", diff)
	}
	if len(series(before)) < 50 {
		t.Errorf("only %d series: %q", len(series(before)), series(before))
	}
	value := map[string]float64{}
	for _, name := range series(after) {
		family, _, _ := strings.Cut(name, "{")
		for _, m := range after[family].GetMetric() {
			for _, l := range m.GetLabel() {
				key := family + " " + l.GetValue()
				value[key] = max(value[key], m.GetCounter().GetValue()+m.GetGauge().GetValue()+float64(m.GetHistogram().GetSampleCount()))
			}
		}
	}
	for name, want := range map[string]float64{"charmer_execute_total ok": 2, "charmer_execute_total app_error": 1, "charmer_session_total created": 2,
		"charmer_session_total ended": 1, "charmer_lease_total granted": 1, "charmer_worker_starts_total ok": 3, "charmer_execute_duration_seconds ok": 2} {
		if value[name] != want {
			t.Errorf("%s is %v, want %v", name, value[name], want)
		}
	}
}

func TestMetricsFollowTheConventionsAndNameNobody(t *testing.T) {
	s := newTestServer(t, io.Discard, withStubs)
	newChecked(t, s).answer(t, "POST", "/execute", `{"command":"ok","session_id":"private"}`)
	text, families := scraped(t, s)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "charmer_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for name, family := range families {
		if !regexp.MustCompile(`^(charmer|go|process)_`).MatchString(name) || family.GetHelp() == "" {
			t.Errorf("%s: help %q", name, family.GetHelp())
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if allowed := "state outcome result method phase reason step event version go_version"; strings.HasPrefix(name, "charmer_") && !slices.Contains(strings.Fields(allowed), l.GetName()) {
					t.Errorf("%s has a label %s", name, l.GetName())
				}
			}
		}
	}
	if strings.Contains(text, "private") {
		t.Errorf("the metrics name a session:\n%s", text)
	}
}

func TestMetricsAreTextWhateverIsAskedFor(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	for _, accept := range []string{"", "*/*", "application/json", "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		r, w := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
		r.Header.Set("Accept", accept)
		c.ServeHTTP(w, r)
		if faults := c.contract.Faults(r, w.Code, w.Header(), w.Body.Bytes()); w.Code != 200 || len(faults) > 0 || !strings.HasPrefix(w.Body.String(), "# HELP ") {
			t.Errorf("Accept %s: %d %s: %q", accept, w.Code, w.Header().Get("Content-Type"), faults)
		}
	}
}

func TestAPoolThatCannotStartShowsInTheMetrics(t *testing.T) {
	failed := make(chan struct{}, 10)
	s := newTestServer(t, io.Discard, func(cfg *poolsvc.Config) {
		cfg.Workers = 1
		cfg.Spawn = func(context.Context, int, uint64, func(int, string)) (poolsvc.Worker, error) {
			failed <- struct{}{}
			return nil, &workerproc.StartError{Stage: "import app", Detail: "SyntaxError"}
		}
	})
	<-failed
	<-failed // the first failure has been counted by the time of the second attempt
	_, families := scraped(t, s)
	var failures float64
	for _, m := range families["charmer_worker_starts_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetValue() == "failed" {
				failures += m.GetCounter().GetValue()
			}
		}
	}
	if ready := families["charmer_ready"].GetMetric()[0].GetGauge().GetValue(); failures < 1 || ready != 0 {
		t.Errorf("%v failed starts, ready %v", failures, ready)
	}
	w := newChecked(t, s).answer(t, "GET", "/health", "")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "SyntaxError") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
