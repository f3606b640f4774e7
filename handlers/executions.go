package handlers

import (
	"net/http"

	"charmer/api"
	"charmer/poolsvc"
)

// ListExecutions answers GET /executions.
func (s *Server) ListExecutions(w http.ResponseWriter, _ *http.Request) error {
	list := api.ExecutionList{Executions: []api.Execution{}}
	for _, info := range s.pool.Executions() {
		list.Executions = append(list.Executions, execution(info))
	}
	return reply(w, http.StatusOK, list)
}

// GetExecution answers GET /executions/{request_id}.
func (s *Server) GetExecution(w http.ResponseWriter, _ *http.Request, id api.RequestID) error {
	info, err := s.pool.Execution(id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, execution(info))
}

// CancelExecution answers DELETE /executions/{request_id}.
func (s *Server) CancelExecution(w http.ResponseWriter, r *http.Request, id api.RequestID) error {
	step, err := s.pool.Cancel(r.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, api.CancelReply{RequestID: id, Step: api.CancelStep(step)})
}

func execution(info poolsvc.ExecutionInfo) api.Execution {
	out := api.Execution{
		RequestID: info.RequestID, Command: info.Command, State: api.ExecutionStateWaiting, Since: info.Since.UTC(), Deadline: info.Deadline.UTC(),
		SessionID: some(info.SessionID),
	}
	if info.Worker != nil {
		out.State, out.Worker, out.BeganAt = api.ExecutionStateRunning, some(workerRef(*info.Worker)), some(info.Began.UTC())
	}
	if p := info.Progress; p.Fraction != nil || p.Message != "" {
		out.Progress = &api.Progress{Fraction: p.Fraction, Message: some(p.Message)}
	}
	return out
}
