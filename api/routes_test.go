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

func (stub) Execute(w http.ResponseWriter, _ *http.Request, params api.ExecuteParams) error {
	if params.RequestTimeoutMs == nil {
		_, err := fmt.Fprint(w, "none")
		return err
	}
	_, err := fmt.Fprint(w, *params.RequestTimeoutMs)
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
		header         []string // values of Request-Timeout-Ms
		status         int
		want           string
	}{
		{"GET", "/sessions/u1", nil, 200, "u1"},
		{"GET", "/sessions/u%3A1", nil, 200, "u:1"},
		{"GET", "/sessions/a%2Fb", nil, 200, "a/b"},
		{"GET", "/sessions/%25", nil, 200, "%"},
		{"POST", "/workers/7/recycle", nil, 200, "7"},
		{"POST", "/workers/x/recycle", nil, 418, "the path parameter worker_id must be one integer"},
		{"POST", "/workers/1.5/recycle", nil, 418, "the path parameter worker_id must be one integer"},
		{"POST", "/workers/9223372036854775808/recycle", nil, 418, "the path parameter worker_id must be one integer"},
		{"POST", "/workers/13/recycle", nil, 418, "checked path worker_id min=1"},
		{"GET", "/health/ready", nil, 200, "none"},
		{"GET", "/health/ready?min_idle=2", nil, 200, "2"},
		{"GET", "/health/ready?min_idle=", nil, 418, "the query parameter min_idle must be one integer"},
		{"GET", "/health/ready?min_idle=1&min_idle=2", nil, 418, "the query parameter min_idle must be one integer"},
		{"GET", "/health/ready?min_idle=13", nil, 418, "checked query min_idle min=0,max=100000"},
		{"GET", "/workers", nil, 418, "from the handler"},
		{"POST", "/execute", nil, 200, "none"},
		{"POST", "/execute", []string{"2.5"}, 200, "2.5"},
		{"POST", "/execute", []string{""}, 418, "the header parameter Request-Timeout-Ms must be one number"},
		{"POST", "/execute", []string{"x"}, 418, "the header parameter Request-Timeout-Ms must be one number"},
		{"POST", "/execute", []string{"1", "2"}, 418, "the header parameter Request-Timeout-Ms must be one number"},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tt.method, tt.target, nil)
		r.Header["Request-Timeout-Ms"] = tt.header
		router.ServeHTTP(w, r)
		if got := w.Body.String(); w.Code != tt.status || got != tt.want {
			t.Errorf("%s %s %q: %d %q, want %d %q", tt.method, tt.target, tt.header, w.Code, got, tt.status, tt.want)
		}
	}
}
