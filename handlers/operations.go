package handlers

import (
	"net/http"

	"charmer/api"
	"charmer/poolsvc"
)

// RecycleWorker answers POST /workers/{worker_id}/recycle.
func (s *Server) RecycleWorker(w http.ResponseWriter, _ *http.Request, id api.WorkerID) error {
	if err := s.pool.Recycle(uint64(id)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// GetStats answers GET /stats.
func (s *Server) GetStats(w http.ResponseWriter, _ *http.Request) error {
	stats := s.pool.Stats()
	c := stats.Counts
	return reply(w, http.StatusOK, api.Stats{
		Workers: workerCounts(stats.Workers), Queue: queue(stats.Queue),
		Sessions: api.Stats_Sessions{Live: int64(len(stats.Sessions)), Limit: int64(stats.Limits.Sessions), Created: c.SessionsCreated,
			Ended: c.SessionsEnded, Expired: c.SessionsExpired, Lost: c.SessionsLost},
		Leases: api.Stats_Leases{Active: int64(c.LeasesActive), Granted: c.LeasesGranted, Released: c.LeasesReleased,
			Expired: c.LeasesExpired, Lost: c.LeasesLost},
		Checkouts: c.Checkouts, Executions: c.Executions, WorkerStarts: c.Starts, WorkerExits: byName(c.Exits),
		BusyMs: milliseconds(c.Busy), ServiceTimeMs: milliseconds(c.ServiceTime),
	})
}

func byName[K ~string](counts map[K]int64) api.CountByName {
	out := api.CountByName{}
	for name, n := range counts {
		out[string(name)] = n
	}
	return out
}

func workerCounts(c poolsvc.WorkerCounts) api.WorkerCounts {
	return api.WorkerCounts{Size: int64(c.Size), Starting: int64(c.Starting), Idle: int64(c.Idle), Busy: int64(c.Busy),
		Leased: int64(c.Leased), Stopping: int64(c.Stopping), Spare: int64(c.Spare)}
}

func queue(q poolsvc.QueueStats) api.Queue {
	return api.Queue{Length: int64(q.Length), Limit: int64(q.Limit), OldestWaitMs: milliseconds(q.OldestWait)}
}

// GetMetrics answers GET /metrics.
func (s *Server) GetMetrics(w http.ResponseWriter, r *http.Request) error {
	r.Header.Del("Accept") // the contract has the text format and no other
	s.metrics.ServeHTTP(w, r)
	return nil
}

// GetOpenapiYAML answers GET /openapi.yaml.
func (s *Server) GetOpenapiYAML(w http.ResponseWriter, _ *http.Request) error {
	send(w, http.StatusOK, "application/yaml", s.cfg.Contract)
	return nil
}
