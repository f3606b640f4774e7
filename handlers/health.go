package handlers

import (
	"fmt"
	"net/http"
	"time"

	"charmer/api"
	"charmer/poolsvc"
)

// GetHealth answers GET /health.
func (s *Server) GetHealth(w http.ResponseWriter, _ *http.Request) error {
	health := s.health(s.pool.Stats())
	status := http.StatusServiceUnavailable
	if health.State == api.HealthStateReady || health.State == api.HealthStateDegraded {
		status = http.StatusOK
	}
	return reply(w, status, health)
}

func (s *Server) health(stats poolsvc.Stats) api.Health {
	state, reason := stats.Health()
	out := api.Health{
		State: api.HealthState(state), Reason: some(reason), Workers: workerCounts(stats.Workers), Sessions: int64(len(stats.Sessions)),
		Queue: queue(stats.Queue), Generation: int64(stats.Generation), StartMethod: api.HealthStartMethod(stats.Zygote.StartMethod()), Zygote: zygote(stats.Zygote),
		UptimeMs: milliseconds(stats.Uptime), Version: s.cfg.Version,
	}
	for _, m := range stats.Members {
		if m.State == poolsvc.StateStarting && m.SessionID == "" {
			out.Starting = append(out.Starting, startProgress(m))
		}
	}
	if stats.Starts.Failures > 0 {
		out.Restarts = restarts(stats.Starts)
	}
	out.Reload, out.LastReload = reloadProgress(stats), lastReload(stats.Reload)
	return out
}

func zygote(z poolsvc.ZygoteStatus) api.Zygote {
	out := api.Zygote{State: api.ZygoteState(z.State), Reason: some(z.Reason), PID: some(int64(z.PID))}
	if z.Import > 0 {
		out.ImportMs, out.ImportMemoryBytes, out.Restarts = some(milliseconds(z.Import)), some(z.Memory), some(int64(z.Restarts))
	}
	return out
}

func startProgress(m poolsvc.WorkerInfo) api.StartProgress {
	return api.StartProgress{WorkerID: int64(m.ID), PID: int64(m.PID), Stage: m.Stage, ElapsedMs: milliseconds(time.Since(m.StartedAt))}
}

func restarts(starts poolsvc.StartStats) *api.Restarts {
	out := &api.Restarts{ConsecutiveFailures: int64(starts.Failures), BackoffMs: milliseconds(starts.Backoff)}
	if starts.Last != nil {
		out.LastError = some(starts.Last.Error())
		out.Traceback = some(starts.Last.Traceback)
		out.StderrTail = starts.Last.Exit.StderrTail
	}
	return out
}

// GetLive answers GET /health/live.
func (s *Server) GetLive(w http.ResponseWriter, _ *http.Request) error {
	if !s.pool.Live() {
		return errNotLive
	}
	return reply(w, http.StatusOK, api.Live{Live: true, UptimeMs: milliseconds(s.pool.Uptime())})
}

// errNotLive is a bug by definition, and answered so.
var errNotLive = fmt.Errorf("the supervisor does not tick")

// GetReady answers GET /health/ready.
func (s *Server) GetReady(w http.ResponseWriter, _ *http.Request, params api.GetReadyParams) error {
	stats := s.pool.Stats()
	if err := stats.NotReady(int(value(params.MinIdle))); err != nil {
		return err
	}
	return reply(w, http.StatusOK, api.Ready{Ready: true, Idle: int64(stats.Workers.Idle)})
}
