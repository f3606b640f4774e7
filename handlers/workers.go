package handlers

import (
	"net/http"
	"time"

	"charmer/api"
	"charmer/poolsvc"
)

// ListWorkers answers GET /workers.
func (s *Server) ListWorkers(w http.ResponseWriter, _ *http.Request, params api.ListWorkersParams) error {
	members := s.pool.Stats().Members
	var usages map[uint64]poolsvc.Usage
	if params.Usage != nil && *params.Usage {
		usages = s.pool.Usages(members)
	}
	list := api.WorkerList{Workers: []api.Worker{}}
	for _, m := range members {
		list.Workers = append(list.Workers, worker(m, usages))
	}
	return reply(w, http.StatusOK, list)
}

// GetWorker answers GET /workers/{worker_id}.
func (s *Server) GetWorker(w http.ResponseWriter, _ *http.Request, id api.WorkerID) error {
	m, err := s.pool.Worker(uint64(id))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, worker(m, s.pool.Usages([]poolsvc.WorkerInfo{m})))
}

// GetWorkerStack answers GET /workers/{worker_id}/stack.
func (s *Server) GetWorkerStack(w http.ResponseWriter, _ *http.Request, id api.WorkerID) error {
	stack, err := s.pool.Stack(uint64(id))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, api.WorkerStack{
		Worker: workerRef(stack.Worker), State: api.WorkerStackState(stack.State), StartStage: some(stack.Stage),
		Stack: stack.Stack, TakenAt: stack.TakenAt.UTC(), Running: running(stack.Running),
	})
}

func worker(m poolsvc.WorkerInfo, usages map[uint64]poolsvc.Usage) api.Worker {
	out := api.Worker{
		ID: int64(m.ID), PID: int64(m.PID), Generation: int64(m.Generation), State: api.WorkerState(m.State),
		StartMethod: some(api.WorkerStartMethod(m.StartMethod)), StartedAt: m.StartedAt.UTC(), AgeMs: milliseconds(time.Since(m.StartedAt)),
		Calls: m.Calls, StartStage: some(m.Stage), ReadyAfterMs: some(milliseconds(m.ReadyAfter)), SessionID: some(m.SessionID),
		Running: running(m.Running),
	}
	if !m.LeaseExpiresAt.IsZero() {
		out.LeaseExpiresAt = some(m.LeaseExpiresAt.UTC())
	}
	if u, ok := usages[m.ID]; ok {
		out.Usage = &api.WorkerUsage{RssBytes: u.RSS, PssBytes: u.PSS, PrivateBytes: u.Private, CPUMs: milliseconds(u.CPU)}
	}
	if r := m.Replaces; r != nil {
		out.Replaces = &api.EndedWorker{ID: int64(r.ID), PID: int64(r.PID), ExitReason: string(r.Reason), Detail: r.Detail, At: r.At.UTC()}
	}
	return out
}

func running(calls []poolsvc.RunningCall) []api.RunningCall {
	var out []api.RunningCall
	for _, call := range calls {
		out = append(out, api.RunningCall{RequestID: call.RequestID, Command: call.Command, Since: call.Since.UTC()})
	}
	return out
}
