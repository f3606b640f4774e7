package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"charmer/api/client"
)

// load is clients that call a command for which any service will do, until told to stop.
type load struct {
	b       *balanced
	clients sync.WaitGroup
	ended   atomic.Bool
	done    atomic.Int64
	mu      sync.Mutex // guards the field below
	answers map[string]answer
}

func (b *balanced) load() *load {
	l := &load{b: b, answers: map[string]answer{}}
	for c := range 3 {
		l.clients.Go(func() { // ends by end
			for n := 0; !l.ended.Load(); n++ {
				name := fmt.Sprintf("load%d-%d", c, n)
				a, err := b.try(client.ExecuteRequest{Command: "mark", Args: []byte(b.args(name))})
				if err != nil {
					b.t.Errorf("%s: %v", name, err)
					return
				}
				l.mu.Lock()
				l.answers[name] = a
				l.mu.Unlock()
				l.done.Add(1)
			}
		})
	}
	return l
}

// further waits until so many more calls have been answered.
func (l *load) further(n int64) {
	l.b.t.Helper()
	n += l.done.Load()
	l.b.eventually("more calls are answered", func() bool { return l.done.Load() >= n || l.b.t.Failed() })
}

// end ends the clients, and fails the test unless each answer was true and each call was good but for at most lost ones of which
// nobody can know. Nothing has begun twice.
func (l *load) end(t *testing.T, lost int) {
	t.Helper()
	l.ended.Store(true)
	l.clients.Wait()
	begun := l.b.begun()
	for name, times := range begun {
		if times > 1 {
			t.Errorf("%s has begun %d times", name, times)
		}
	}
	failed := 0
	for name, a := range l.answers {
		switch {
		case a.status == http.StatusOK && begun[name] == 1:
		case a.status == http.StatusBadGateway && a.Problem.Code == "connection_lost" && a.Problem.Started:
			failed++
		default:
			t.Errorf("%s has begun %d times, and was answered %d %+v", name, begun[name], a.status, a.Problem)
		}
	}
	t.Logf("%d calls, %d lost", len(l.answers), failed)
	if failed > lost {
		t.Errorf("%d calls were lost, want at most %d", failed, lost)
	}
}

// session opens a session in a service, under a name that begins so.
func (b *balanced) session(at *instance, name string) string {
	b.t.Helper()
	for i := range 64 {
		id := fmt.Sprintf("%s%d", name, i)
		if where, _ := placed(b.t, b.execute("count", "{}", inSession(id)).Result); where == whose(at) {
			return id
		}
	}
	b.t.Fatal("no session comes to the service")
	return ""
}

// moves waits until a session is in a service, anew. Until then its calls must be refused before they start.
func (b *balanced) moves(session string, to *instance) {
	b.t.Helper()
	try := 0
	b.eventually("the session is opened anew", func() bool {
		try++
		name := fmt.Sprintf("%s-%d", session, try)
		a := b.execute("count", b.args(name), inSession(session))
		if a.status == http.StatusServiceUnavailable && !a.Problem.Started && b.begun()[name] == 0 {
			return false
		}
		if where, n := placed(b.t, a.Result); where != whose(to) || n != 1 || a.Session == nil || a.Session.State != "new" {
			b.t.Fatalf("call %d in %s, %+v %+v", n, where, a.Session, a.Problem)
		}
		return true
	})
}

func TestBalancersLeaveAServiceThatDrains(t *testing.T) {
	for _, kind := range []string{"haproxy", "nginx"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // they wait, most of the time
			b := balance(t, kind, pair(t))
			leaves, stays := b.behind[0], b.behind[1]
			session := b.session(leaves, "moves")
			lease, header := b.leaseAt(leaves, "drain")
			held, inside := b.hold(leaves, "held"), b.hold(leaves, "inside", inSession(b.session(leaves, "inside")))
			l := b.load()
			l.further(20)
			if err := leaves.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			leaves.eventually("it drains", func() bool { return leaves.health().State == client.HealthStateDraining })
			l.further(50) // that are refused there, and run elsewhere
			if kind == "haproxy" {
				b.eventually("it is taken out", func() bool { return b.status(0) != "UP" })
				b.moves(session, stays)
				l.further(50)
			}
			b.releases(lease, header)
			b.open("held")
			b.open("inside")
			(<-held).wantResult(t, `"`+whose(leaves)+`"`)
			(<-inside).wantResult(t, `"`+whose(leaves)+`"`)
			<-leaves.exited
			if code := leaves.cmd.ProcessState.ExitCode(); code != exitOK {
				t.Errorf("exit code %d, want 0", code)
			}
			if kind == "nginx" {
				b.moves(session, stays)
			}
			l.further(50)

			back := launchBalanced(t, appFile(t, balancedApp), strings.TrimPrefix(leaves.url, "http://")).ready()
			n := 0
			b.eventually("calls run in the service that is back", func() bool {
				n++
				return b.execute("mark", b.args(fmt.Sprintf("back%d", n))).Result == `"`+whose(back)+`"`
			})
			if where, n := placed(t, b.execute("count", "{}", inSession(session)).Result); kind == "haproxy" && (where != whose(stays) || n != 2) {
				t.Errorf("call %d of the session in %s", n, where)
			}
			l.end(t, 1) // one that comes as the listener is closed
		})
	}
}

func TestBalancersRepeatNothingThatRanInAServiceThatWasKilled(t *testing.T) {
	for _, kind := range []string{"haproxy", "nginx"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // they wait, most of the time
			b := balance(t, kind, pair(t))
			dies, stays := b.behind[0], b.behind[1]
			session := b.session(dies, "moves")
			inside, held, other := b.hold(dies, "inside", inSession(session)), b.hold(dies, "held"), b.hold(stays, "other")
			l := b.load()
			l.further(20)
			if err := dies.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-dies.exited
			(<-held).wantProblem(t, http.StatusBadGateway, "connection_lost", true)
			(<-inside).wantProblem(t, http.StatusBadGateway, "connection_lost", true)
			b.moves(session, stays)
			l.further(50)
			b.open("other")
			(<-other).wantResult(t, `"`+whose(stays)+`"`)

			l.end(t, 3) // of which each client had one

			fresh := balance(t, kind, b.behind) // tries the service that is gone first
			last := fresh.hold(stays, "last")
			if err := stays.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-stays.exited
			(<-last).wantProblem(t, http.StatusBadGateway, "connection_lost", true)
			for _, a := range []answer{b.execute("mark", b.args("nowhere")), b.execute("count", "{}", inSession(session))} {
				if a.wantProblem(t, http.StatusServiceUnavailable, "unreachable", false); a.header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
		})
	}
}
