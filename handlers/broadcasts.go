package handlers

import (
	"net/http"

	"charmer/api"
	"charmer/poolsvc"
)

// Broadcast answers POST /broadcast.
func (s *Server) Broadcast(w http.ResponseWriter, r *http.Request) error {
	req, err := bind[api.BroadcastRequest](s.bind, r)
	if err != nil {
		return err
	}
	x := exchangeOf(r)
	info, err := s.pool.Broadcast(r.Context(), poolsvc.Request{
		Command: req.Command, Args: req.Args, Timeout: duration(req.TimeoutMs), RequestID: x.requestID, Traceparent: traceparent(r),
	})
	if err != nil {
		return err
	}
	out := api.BroadcastReply{ID: info.ID, Command: info.Command, Kept: info.Kept, RequestID: x.requestID, Results: []api.BroadcastResult{}}
	for _, result := range info.Results {
		row := api.BroadcastResult{Worker: workerRef(result.Worker), Status: api.BroadcastResultStatus(result.Status), Result: result.Result, RunMs: some(milliseconds(result.Run))}
		if result.Err != nil {
			row.Problem = s.fullProblem(r, result.Err)
		}
		out.Results = append(out.Results, row)
	}
	return reply(w, http.StatusOK, out)
}

// ListBroadcasts answers GET /broadcasts.
func (s *Server) ListBroadcasts(w http.ResponseWriter, _ *http.Request) error {
	list := api.BroadcastList{Broadcasts: []api.Broadcast{}}
	for _, info := range s.pool.Broadcasts() {
		row := api.Broadcast{ID: info.ID, Command: info.Command, Args: info.Args, CreatedAt: info.At.UTC(), Applied: info.Applied}
		for _, result := range info.Results {
			if result.Status == poolsvc.BroadcastPending {
				row.Pending++
			}
		}
		list.Broadcasts = append(list.Broadcasts, row)
	}
	return reply(w, http.StatusOK, list)
}

// RemoveBroadcast answers DELETE /broadcasts/{broadcast_id}.
func (s *Server) RemoveBroadcast(w http.ResponseWriter, _ *http.Request, id api.BroadcastID) error {
	if err := s.pool.RemoveBroadcast(id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
