package handlers

import (
	"net/http"

	"charmer/api"
	"charmer/poolsvc"
)

// Reload answers POST /reload.
func (s *Server) Reload(w http.ResponseWriter, r *http.Request) error {
	result, err := s.pool.Reload(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, api.ReloadReply{Generation: int64(result.Generation), Previous: int64(result.Previous),
		Rolling: result.Remaining > 0, Remaining: int64(result.Remaining), DurationMs: milliseconds(result.Took)})
}

// reloadProblem is the problem of a reload whose first worker did not start.
func reloadProblem(err *poolsvc.ReloadError) *api.Problem {
	p := newProblem(http.StatusUnprocessableEntity, api.ProblemCodeReloadFailed, err.Error())
	p.Start = startFailure(err)
	if err.Start.Exit.Reason != "" { // else there was no process
		addExit(p, err.Start.Exit)
	}
	return p
}

func startFailure(err *poolsvc.ReloadError) *api.StartFailure {
	return &api.StartFailure{Stage: err.Start.Stage, Detail: err.Start.Detail, Traceback: some(err.Start.Traceback),
		StderrTail: err.Start.Exit.StderrTail}
}

// reloadProgress is what /health says of a reload on its way, or nil.
func reloadProgress(stats poolsvc.Stats) *api.Reload {
	if stats.Reload.Starting == nil && !stats.Reload.Rolling {
		return nil
	}
	out := &api.Reload{Generation: int64(stats.Generation), Remaining: int64(stats.Reload.Remaining)}
	if first := stats.Reload.Starting; first != nil {
		progress := startProgress(*first)
		out.Generation, out.Starting = int64(first.Generation), &progress
	}
	return out
}

// lastReload is what /health says of the reload that ended last, or nil.
func lastReload(stats poolsvc.ReloadStats) *api.LastReload {
	if stats.Generation == 0 {
		return nil
	}
	out := &api.LastReload{Generation: int64(stats.Generation), Ok: stats.Err == nil, At: stats.At.UTC(), DurationMs: milliseconds(stats.Took)}
	if stats.Err != nil {
		out.Error, out.Start = some(stats.Err.Error()), startFailure(stats.Err)
	}
	return out
}
