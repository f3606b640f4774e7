package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"charmer/api/client"
)

func TestBalancersSendRequestsWhereTheyBelong(t *testing.T) {
	behind := pair(t)
	for _, kind := range []string{"haproxy", "nginx"} {
		t.Run(kind, func(t *testing.T) {
			b := balance(t, kind, behind)
			keepsSessionsTogether(t, b)
			keepsSessionsOfToolsTogether(t, b)
			findsLeases(t, b)
			passesStreamsAndDepartures(t, b)
			findsCallsThatRun(t, b)
			cancelsToolsWhereTheyRun(t, b)
			takesLargeBodies(t, b)
			refusesWhatItMust(t, b)
		})
	}
}

func keepsSessionsTogether(t *testing.T, b *balanced) {
	used := map[string]int{}
	for i := range 8 {
		used[b.execute("mark", b.args(fmt.Sprint(i))).Result]++
	}
	if len(used) != 2 {
		t.Errorf("calls ran in %v, want both services", used)
	}

	for i, s := range b.behind {
		id := b.session(s, fmt.Sprintf("%s:%d@", b.kind, i))
		typed := b.raw(http.MethodPost, "/commands/count?session_id="+id, "{}", "Content-Type", "application/json")
		if where, n := placed(t, string(typed.body)); where != whose(s) || n != 2 {
			t.Errorf("session %s is in %s, then call %d was in %s", id, whose(s), n, where)
		}
		if where, n := placed(t, b.execute("count", "{}", inSession(id)).Result); where != whose(s) || n != 3 {
			t.Errorf("session %s is in %s, then call %d was in %s", id, whose(s), n, where)
		}
		if r := b.raw(http.MethodGet, "/sessions/"+id, ""); r.status != http.StatusOK {
			t.Errorf("session %s: %d %s", id, r.status, r.body)
		}
		if r := b.raw(http.MethodDelete, "/sessions/"+id, ""); r.status != http.StatusNoContent {
			t.Errorf("end of session %s: %d %s", id, r.status, r.body)
		}
	}
}

// placed is the result of the command count: where, and how often.
func placed(t *testing.T, result string) (where string, n int) {
	t.Helper()
	if err := json.Unmarshal([]byte(result), &[]any{&where, &n}); err != nil {
		t.Errorf("count gave %s: %v", result, err)
	}
	return where, n
}

// keepsSessionsOfToolsTogether has language models use the sessions of others.
func keepsSessionsOfToolsTogether(t *testing.T, b *balanced) {
	for i, s := range b.behind {
		id := b.session(s, fmt.Sprintf("%s-tools%d-", b.kind, i))
		header := []string{"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Mcp-Session-Id", "m1"}
		if b.kind == "nginx" {
			header = append(header, "Charmer-Session", id)
		}
		r := b.raw(http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"count","arguments":{},"_meta":{"charmer/session_id":"`+id+`"}}}`, header...)
		if !strings.Contains(string(r.body), whose(s)) {
			t.Errorf("session %s is in %s, and the tool ran elsewhere: %s", id, whose(s), r.body)
		}
	}
}

func findsLeases(t *testing.T, b *balanced) {
	for i, s := range b.behind {
		lease, header := b.leaseAt(s, fmt.Sprintf("route%d-", i))
		r := b.raw(http.MethodPost, "/commands/count?lease_id="+lease, "{}", header...)
		if where, _ := placed(t, string(r.body)); where != whose(s) {
			t.Errorf("lease of %s: typed call: %d %s", whose(s), r.status, r.body)
		}
		if r := b.raw(http.MethodPost, "/checkout/"+lease+"/renew", `{"ttl_ms":60000}`, header...); r.status != http.StatusOK {
			t.Errorf("renew: %d %s", r.status, r.body)
		}
		b.releases(lease, header)
	}
	if b.kind == "nginx" {
		b.post("/checkout", `{"type":"anonymous"}`).wantProblem(t, http.StatusBadRequest, "invalid_request")
		b.post("/commands/count?lease_id=x", "{}").wantProblem(t, http.StatusBadRequest, "invalid_request")
	}
}

// leaseAt takes a lease in a service, and returns the header for its requests. The balancer that does not read bodies is told
// where it is, by what begins with route.
func (b *balanced) leaseAt(s *instance, route string) (lease string, header []string) {
	b.t.Helper()
	for i := range 64 {
		header = []string{"Content-Type", "application/json"}
		if b.kind == "nginx" {
			header = append(header, "Charmer-Route", fmt.Sprint(route, i))
		}
		var given client.CheckoutReply
		if r := b.raw(http.MethodPost, "/checkout", `{"type":"anonymous"}`, header...); r.status != http.StatusCreated || json.Unmarshal(r.body, &given) != nil {
			b.t.Fatalf("checkout: %d %s", r.status, r.body)
		}
		var reply client.ExecuteReply
		r := b.raw(http.MethodPost, "/execute", `{"command":"count","lease_id":"`+given.LeaseID+`"}`, header...)
		if err := json.Unmarshal(r.body, &reply); err != nil || r.status != http.StatusOK {
			b.t.Fatalf("call on a lease: %d %s", r.status, r.body)
		}
		if where, _ := placed(b.t, string(reply.Result)); where == whose(s) {
			return given.LeaseID, header
		}
		b.releases(given.LeaseID, header)
	}
	b.t.Fatal("no lease comes from the service")
	return "", nil
}

func (b *balanced) releases(lease string, header []string) {
	b.t.Helper()
	if r := b.raw(http.MethodDelete, "/checkout/"+lease, "", header...); r.status != http.StatusNoContent {
		b.t.Errorf("release: %d %s", r.status, r.body)
	}
}

func passesStreamsAndDepartures(t *testing.T, b *balanced) {
	for _, media := range []string{"text/event-stream", "application/x-ndjson"} {
		name := strings.TrimPrefix(media, "text/")[:5]
		body := `{"command":"items","args":` + b.args(name) + `}`
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/execute", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {media}}
		reply, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		var seen string
		for lines := bufio.NewScanner(reply.Body); lines.Scan(); {
			if seen += lines.Text() + "\n"; strings.Contains(lines.Text(), "chunk") && len(glob(t, b.dir, name+".open")) == 0 {
				touch(t, b.dir, name+".open") // the first item is here, and the second one cannot be
			}
		}
		if strings.Count(seen, "chunk") != 2 || !strings.Contains(seen, "end") {
			t.Errorf("%s: %s", media, seen)
		}
	}

	leave := b.abandon(http.MethodPost, "/execute", `{"command":"hold","args":`+b.args("left")+`}`)
	b.eventually("the call runs", func() bool { return b.begun()["left"] == 1 })
	leave()
	for _, s := range b.behind {
		s.eventually("no call runs", func() bool { return len(s.executions()) == 0 })
	}
}

func findsCallsThatRun(t *testing.T, b *balanced) {
	for i, s := range b.behind {
		answers := b.hold(s, fmt.Sprintf("at%d-", i))
		id := slices.Collect(maps.Keys(s.executions()))[0]
		for range 2 { // asked of either first
			if r := b.raw(http.MethodGet, "/executions/"+id, ""); r.status != http.StatusOK {
				t.Errorf("a call that runs: %d %s", r.status, r.body)
			}
			b.raw(http.MethodGet, "/executions/none", "").wantProblem(t, http.StatusNotFound, "execution_not_found")
		}
		if r := b.raw(http.MethodDelete, "/executions/"+id, ""); r.status != http.StatusOK {
			t.Errorf("cancel: %d %s", r.status, r.body)
		}
		a := <-answers
		a.wantProblem(t, http.StatusConflict, "cancelled", true)
	}
}

func cancelsToolsWhereTheyRun(t *testing.T, b *balanced) {
	for i := range 4 {
		name := fmt.Sprintf("tool%d", i)
		header := []string{"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Mcp-Session-Id", name}
		ended := make(chan rawReply, 1)
		go func() { // ends with the call
			ended <- b.raw(http.MethodPost, "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hold","arguments":`+b.args(name)+`}}`, header...)
		}()
		b.eventually("the tool runs", func() bool { return b.begun()[name] == 1 })
		b.raw(http.MethodPost, "/mcp", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, header...)
		<-ended
	}
	for _, s := range b.behind {
		s.eventually("no call runs", func() bool { return len(s.executions()) == 0 })
	}
}

func takesLargeBodies(t *testing.T, b *balanced) {
	large := strings.Repeat("x", 7<<20)
	for i, s := range b.behind {
		id := b.session(s, fmt.Sprintf("%s-large%d-", b.kind, i))
		r := b.raw(http.MethodPost, "/commands/echo", `{"text":"`+large+`"}`, "Content-Type", "application/json")
		if r.status != http.StatusOK || len(r.body) != len(large)+2 {
			t.Errorf("7 MiB came back as %d bytes, %d", len(r.body), r.status)
		}
		header := []string{"Content-Type", "application/json"}
		if b.kind == "nginx" {
			header = append(header, "Charmer-Session", id)
		}
		before := `{"session_id":"` + id + `","command":"echo","args":{"text":"` + large + `"}}`
		behind := `{"command":"echo","args":{"text":"` + large[:100<<10] + `"},"session_id":"` + id + `"}`
		for _, body := range []string{before, behind} {
			if r := b.raw(http.MethodPost, "/execute", body, header...); !strings.Contains(string(r.body), `"state":"resumed"`) {
				t.Errorf("a call of %d bytes in a session: %d, not resumed: %.300s", len(body), r.status, r.body)
			}
		}
	}
	unseen := `{"command":"echo","args":{"text":"` + large[:200<<10] + `"}}`
	if b.kind == "haproxy" {
		b.post("/execute", unseen).wantProblem(t, http.StatusBadRequest, "invalid_request")
	} else if r := b.post("/execute", unseen); r.status != http.StatusOK {
		t.Errorf("200 KiB: %d %.300s", r.status, r.body)
	}
}

// refusesWhatItMust expects problem documents, which the client checks against the contract.
func refusesWhatItMust(t *testing.T, b *balanced) {
	// Without the body: the refusal may be lost while it is sent. The connection stays open, for half of it would be a departure.
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /commands/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 8388609\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	refusal, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	var problem client.Problem
	if err := json.NewDecoder(refusal.Body).Decode(&problem); err != nil || refusal.StatusCode != http.StatusRequestEntityTooLarge || problem.Code != "payload_too_large" {
		t.Errorf("more than 8 MiB: %d %+v, %v", refusal.StatusCode, problem, err)
	}

	for _, path := range []string{"/stats", "/workers/1", "/sessions"} {
		b.raw(http.MethodGet, path, "").wantProblem(t, http.StatusForbidden, "forbidden")
	}
	if r := b.raw(http.MethodGet, "/health/ready", ""); r.status != http.StatusOK {
		t.Errorf("health: %d %s", r.status, r.body)
	}
}
