package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"

	"charmer/api"
)

// stub answers the operations that have parameters with the values that it got.
type stub struct {
	api.ServerInterface // the others, which are not called
}

func (stub) GetSession(w http.ResponseWriter, _ *http.Request, id api.SessionIDPath) error {
	_, err := fmt.Fprint(w, id)
	return err
}

func (stub) RecycleWorker(w http.ResponseWriter, _ *http.Request, id api.WorkerID) error {
	_, err := fmt.Fprint(w, id)
	return err
}

func (stub) GetReady(w http.ResponseWriter, _ *http.Request, params api.GetReadyParams) error {
	if params.MinIdle == nil {
		_, err := fmt.Fprint(w, "none")
		return err
	}
	_, err := fmt.Fprint(w, *params.MinIdle)
	return err
}

func (stub) ListWorkers(http.ResponseWriter, *http.Request, api.ListWorkersParams) error {
	return errors.New("from the handler")
}

func TestRoutesReadParametersAndHandOnEveryError(t *testing.T) {
	router := chi.NewRouter()
	api.Routes{
		Handler: stub{},
		CheckParam: func(in, name string, value any, rules string) error {
			if value == int64(13) {
				return fmt.Errorf("checked %s %s %s", in, name, rules)
			}
			return nil
		},
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, err)
		},
	}.Register(router)
	tests := []struct {
		method, target string
		status         int
		want           string
	}{
		{"GET", "/sessions/u1", 200, "u1"},
		{"GET", "/sessions/u%3A1", 200, "u:1"},
		{"GET", "/sessions/a%2Fb", 200, "a/b"},
		{"GET", "/sessions/%25", 200, "%"},
		{"POST", "/workers/7/recycle", 200, "7"},
		{"POST", "/workers/x/recycle", 418, "the path parameter worker_id must be one integer"},
		{"POST", "/workers/1.5/recycle", 418, "the path parameter worker_id must be one integer"},
		{"POST", "/workers/9223372036854775808/recycle", 418, "the path parameter worker_id must be one integer"},
		{"POST", "/workers/13/recycle", 418, "checked path worker_id min=1"},
		{"GET", "/health/ready", 200, "none"},
		{"GET", "/health/ready?min_idle=2", 200, "2"},
		{"GET", "/health/ready?min_idle=", 418, "the query parameter min_idle must be one integer"},
		{"GET", "/health/ready?min_idle=1&min_idle=2", 418, "the query parameter min_idle must be one integer"},
		{"GET", "/health/ready?min_idle=13", 418, "checked query min_idle min=0,max=100000"},
		{"GET", "/workers", 418, "from the handler"},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(tt.method, tt.target, nil))
		if got := w.Body.String(); w.Code != tt.status || got != tt.want {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.target, w.Code, got, tt.status, tt.want)
		}
	}
}
