package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// mixture is a load of all kinds of calls on a charmer, with everything that may go wrong.
type mixture struct {
	server *server
	client *http.Client
	done   chan struct{} // closed when run has ended

	mu         sync.Mutex // guards the fields below
	answers    map[string]int
	unexpected []string // answers that should not be, at most a few
	bad        int      // how many they were
}

func newMixture(s *server) *mixture {
	return &mixture{server: s, done: make(chan struct{}), answers: map[string]int{},
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: restTime / 2}}}
}

// run loads the service until ctx ends, and returns when all has its answer.
func (x *mixture) run(ctx context.Context) {
	defer close(x.done)
	var clients sync.WaitGroup
	each := func(n int, once func(ctx context.Context, turn int)) {
		for i := range n {
			clients.Go(func() { // ends with ctx
				for turn := i; ctx.Err() == nil; turn += n {
					once(ctx, turn)
				}
			})
		}
	}
	each(4, func(context.Context, int) { x.post("echo", `{"command":"echo","args":{"value":"hello"}}`, 0, 200, 502) })
	each(1, func(context.Context, int) {
		x.post("error", `{"command":"fail","args":{"message":"on purpose"}}`, 0, 422, 502)
		x.post("timeout", `{"command":"doze","args":{"seconds":0.2},"timeout_ms":30}`, 0, 504, 502, 503)
	})
	each(2, func(context.Context, int) {
		x.post("left", `{"command":"doze","args":{"seconds":0.1}}`, 20*time.Millisecond, 200, 502)
	})
	each(1, x.session)
	each(1, x.stream)
	clients.Go(func() { x.kill(ctx) }) // ends with ctx
	clients.Wait()
	x.client.CloseIdleConnections()
}

// post makes a call and notes its answer, which must have one of these statuses. If leave is not zero the client leaves then.
func (x *mixture) post(kind, body string, leave time.Duration, right ...int) {
	ctx := context.Background()
	if leave > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, leave)
		defer cancel()
	}
	status, text, err := x.send(ctx, http.MethodPost, "/execute", body)
	if leave > 0 && ctx.Err() != nil {
		x.note("left", 0, "")
		return
	}
	if err != nil || !slices.Contains(right, status) {
		x.wrong("%s: %d %s %v", kind, status, text, err)
		return
	}
	x.note(kind, status, text)
}

// session opens a session, uses it and ends it.
func (x *mixture) session(_ context.Context, turn int) {
	body := fmt.Sprintf(`{"command":"count","session_id":"s%d"}`, turn)
	for range 20 {
		x.post("session", body, 0, 200, 502, 410)
	}
	if status, text, err := x.send(context.Background(), http.MethodDelete, fmt.Sprintf("/sessions/s%d", turn), ""); err != nil || status >= 500 {
		x.wrong("end of a session: %d %s %v", status, text, err)
	}
}

// stream reads a stream, every third time only how it begins.
func (x *mixture) stream(_ context.Context, turn int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+x.server.address+"/execute", // cannot fail
		strings.NewReader(`{"command":"numbers","args":{"n":500}}`))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/x-ndjson")
	reply, err := x.client.Do(request)
	if err != nil {
		x.wrong("stream: %v", err)
		return
	}
	defer reply.Body.Close()
	if turn%3 == 0 {
		_, _ = io.ReadFull(reply.Body, make([]byte, 1000))
		x.note("stream left", 0, "")
		return
	}
	text, err := io.ReadAll(reply.Body)
	if ended := strings.Contains(string(text), `"event":"end"`) || strings.Contains(string(text), "worker_crashed"); err != nil || !ended {
		x.wrong("stream: %d, %d bytes, %v", reply.StatusCode, len(text), err)
		return
	}
	x.note("stream", reply.StatusCode, string(text[:min(len(text), 300)]))
}

// kill kills a worker every other second.
func (x *mixture) kill(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
		if pids := x.server.workerPIDs(); len(pids) > 0 && syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL) == nil {
			x.note("kill", 0, "")
		}
	}
}

func (x *mixture) send(ctx context.Context, method, path, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+x.server.address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	reply, err := x.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	return reply.StatusCode, string(text), err
}

// note counts an answer by its kind, and by its problem if it is one.
func (x *mixture) note(kind string, status int, text string) {
	if status >= 300 {
		var problem struct {
			Code string `json:"code"`
		}
		_ = json.Unmarshal([]byte(text), &problem) // without a code the status tells enough
		kind += fmt.Sprintf(" %d %s", status, problem.Code)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answers[kind]++
}

// wrong notes an answer that should not be.
func (x *mixture) wrong(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bad++; len(x.unexpected) < 5 {
		x.unexpected = append(x.unexpected, fmt.Sprintf(format, args...))
	}
}

// String lists what was answered how often.
func (x *mixture) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(x.answers)) {
		parts = append(parts, fmt.Sprintf("%s: %d", kind, x.answers[kind]))
	}
	text := "What happened: " + strings.Join(parts, ", ") + fmt.Sprintf("; unexpected: %d.", x.bad)
	for _, u := range x.unexpected {
		text += " " + u + "."
	}
	return text
}
