package handlers

import (
	"net/http"

	"charmer/api"
	"charmer/poolsvc"
)

// ListSessions answers GET /sessions.
func (s *Server) ListSessions(w http.ResponseWriter, _ *http.Request) error {
	list := api.SessionList{Sessions: []api.Session{}}
	for _, info := range s.pool.Stats().Sessions {
		list.Sessions = append(list.Sessions, session(info))
	}
	return reply(w, http.StatusOK, list)
}

// GetSession answers GET /sessions/{session_id}.
func (s *Server) GetSession(w http.ResponseWriter, _ *http.Request, id api.SessionIDPath) error {
	info, err := s.pool.Session(id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, session(info))
}

// EndSession answers DELETE /sessions/{session_id}.
func (s *Server) EndSession(w http.ResponseWriter, _ *http.Request, id api.SessionIDPath) error {
	if err := s.pool.EndSession(id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func session(info poolsvc.SessionInfo) api.Session {
	out := api.Session{
		ID: info.ID, State: api.SessionState(info.State), CreatedAt: info.CreatedAt.UTC(), LastUsedAt: info.LastUsedAt.UTC(),
		ExpiresAt: info.ExpiresAt.UTC(), Calls: info.Calls, Waiting: int64(info.Waiting),
	}
	if info.Worker != nil {
		out.Worker = some(workerRef(*info.Worker))
	}
	return out
}
