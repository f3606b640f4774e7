package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"charmer/api/client"
)

// carrying is an app whose commands take and give much.
const carrying = meeting + `
@command
def echo(value: object) -> object:
    return value

@command
def size(text: str) -> int:
    return len(text)

@command
def give(length: int) -> str:
    return "g" * length
`

const mebibyte = 1 << 20

// jsonText returns a JSON string of about n bytes, as Python writes it, of characters of all lengths and with escapes.
func jsonText(n int) string {
	const unit = "plain ß € 𝄞 \\\" \\\\ \\n \\u0000 / <&> \u2028 \x7f"
	return `"` + strings.Repeat(unit, n/len(unit)) + `"`
}

// wantSame fails the test unless the call returned exactly this JSON, of which it shows little.
func (a answer) wantSame(t *testing.T, want string) {
	t.Helper()
	if a.status != http.StatusOK || a.Result != want {
		t.Errorf("got %d with %d bytes %.200s %.300s, want %d bytes", a.status, len(a.Result), a.Result, a.Problem.Detail, len(want))
	}
}

func TestLargeArgumentsAndResultsPassUnchanged(t *testing.T) {
	s := serve(t, carrying, "--max-body=32MiB")
	s.connect(1000) // reading the contract's way through so much takes minutes
	s.full(2)
	lease := s.lease()
	for _, size := range []int{64 << 10, mebibyte, 16 * mebibyte} {
		value := `{"rows":[` + jsonText(size) + `,1]}`
		a := s.execute("echo", `{"value":`+value+`}`, onLease(lease.LeaseID), patiently)
		a.wantSame(t, value)
		if a.Worker.PID != lease.Worker.PID {
			t.Errorf("answered by %d, want %d", a.Worker.PID, lease.Worker.PID)
		}
	}
	many := `[` + strings.Repeat(`{"x":0.5},`, mebibyte/10) + `null]`
	s.execute("echo", `{"value":`+many+`}`, onLease(lease.LeaseID), patiently).wantSame(t, many)
	s.release(lease)
	s.whole()
}

func TestABodyOverItsLimitIsRefusedBeforeAnyWorkerSeesIt(t *testing.T) {
	s := serve(t, carrying, "--max-body=1MiB", "--workers=1")
	s.full(1)
	pid := s.pidsOfWorkers()[0]
	envelope := func(n int) string {
		const frame = `{"command":"size","args":{"text":""}}`
		return strings.Replace(frame, `""`, `"`+strings.Repeat("t", n-len(frame))+`"`, 1)
	}
	for _, row := range []struct {
		size      int
		announced bool
	}{{mebibyte + 1, true}, {mebibyte + 1, false}, {8 * mebibyte, true}, {8 * mebibyte, false}} {
		body := io.Reader(strings.NewReader(envelope(row.size)))
		if !row.announced {
			body = io.MultiReader(body)
		}
		r := s.rawFrom(http.MethodPost, "/execute", body, "Content-Type", "application/json")
		r.wantProblem(t, http.StatusRequestEntityTooLarge, "payload_too_large")
		if p := r.problem; p.LimitBytes == nil || *p.LimitBytes != mebibyte || p.Retryable {
			t.Errorf("limit_bytes %s, retryable %v; want %d, false", asJSON(p.LimitBytes), p.Retryable, mebibyte)
		}
	}
	if calls := s.workers()[0].Calls; calls != 0 {
		t.Errorf("%d calls reached the worker", calls)
	}
	r := s.post("/execute", envelope(mebibyte))
	if want := fmt.Sprintf(`{"result":%d,`, mebibyte-len(`{"command":"size","args":{"text":""}}`)); r.status != http.StatusOK || !bytes.HasPrefix(r.body, []byte(want)) {
		t.Errorf("a body of the limit: %d %.100s, want %s", r.status, r.body, want)
	}
	if got := s.pidsOfWorkers()[0]; got != pid {
		t.Errorf("worker %d, want still %d", got, pid)
	}
}

func TestArgumentsOverAFrameAreRefusedAndTheWorkerLivesOn(t *testing.T) {
	s := serve(t, carrying, "--max-body=32MiB", "--max-frame=1MiB", "--workers=1")
	s.full(1)
	pid := s.pidsOfWorkers()[0]
	a := s.execute("size", `{"text":"`+strings.Repeat("t", 2*mebibyte)+`"}`, patiently)
	a.wantProblem(t, http.StatusRequestEntityTooLarge, "payload_too_large", false)
	if a.Problem.LimitBytes == nil || *a.Problem.LimitBytes >= mebibyte || *a.Problem.LimitBytes < mebibyte/2 {
		t.Fatalf("limit_bytes %s, want somewhat less than a frame", asJSON(a.Problem.LimitBytes))
	}
	limit := int(*a.Problem.LimitBytes)
	args := func(n int) string { return `{"text":"` + strings.Repeat("t", n-len(`{"text":""}`)) + `"}` }
	s.execute("size", args(limit), patiently).wantResult(t, fmt.Sprint(limit-len(`{"text":""}`)))
	s.execute("size", args(limit+1), patiently).wantProblem(t, http.StatusRequestEntityTooLarge, "payload_too_large", false)
	last := s.execute("ping", `{"n":3}`, patiently)
	last.wantResult(t, "3")
	if last.Worker.PID != pid {
		t.Errorf("worker %d, want still %d", last.Worker.PID, pid)
	}
}

func TestAResultOverAFrameFailsTheCallAndTheWorkerLivesOn(t *testing.T) {
	const limit, header = mebibyte, 5
	s := serve(t, carrying, "--max-frame=1MiB", "--workers=1")
	s.full(1)
	pid := s.pidsOfWorkers()[0]
	fits := limit - header - len(`""`)
	s.execute("give", fmt.Sprintf(`{"length":%d}`, fits), patiently).wantSame(t, `"`+strings.Repeat("g", fits)+`"`)
	for _, length := range []int{fits + 1, 40 * mebibyte} {
		a := s.execute("give", fmt.Sprintf(`{"length":%d}`, length), patiently)
		refusedResult("ValueError", "and the largest allowed is 1,048,576")(t, a)
		wantPart(t, "detail", strings.ReplaceAll(a.Problem.Detail, ",", ""), fmt.Sprintf("result takes %d bytes", length+header+len(`""`)))
		last := s.execute("ping", `{"n":3}`, patiently)
		last.wantResult(t, "3")
		if last.Worker.PID != pid || a.ranOn(t).PID != pid {
			t.Errorf("workers %d and %d, want still %d", a.ranOn(t).PID, last.Worker.PID, pid)
		}
	}
}

// TestALargeCallDiesWithItsWorkerInMidFrame sends more than the pipe holds to a worker that stops reading and is killed.
func TestALargeCallDiesWithItsWorkerInMidFrame(t *testing.T) {
	s := serve(t, carrying, "--max-body=32MiB")
	s.full(2)
	for _, what := range []string{"size", "echo"} {
		lease := s.lease()
		s.stopProcess(lease.Worker.PID)
		name := map[string]string{"size": "text", "echo": "value"}[what]
		args := json.RawMessage(`{"` + name + `":"` + strings.Repeat("t", 4*mebibyte) + `"}`)
		answers := make(chan answer, 1)
		go func() { // ends with the worker
			a, err := s.try(client.ExecuteRequest{Command: what, Args: args, LeaseID: &lease.LeaseID})
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
		s.eventually("the call is under way", func() bool {
			for _, w := range s.workers() {
				if w.PID == lease.Worker.PID {
					return len(w.Running) == 1
				}
			}
			return false
		})
		s.kill(int(lease.Worker.PID), 9)
		a := <-answers
		// The pipe has not taken the frame, so the call cannot have begun; on this lease none ever will.
		a.wantProblem(t, http.StatusGone, "lease_expired", false)
		a.wantSignal(t, 9)
		if a.Problem.Retryable {
			t.Error("retryable, though the lease has ended")
		}
		s.gone(lease.Worker.PID)
		s.whole()
	}
}
