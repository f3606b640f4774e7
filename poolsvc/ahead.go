package poolsvc

import (
	"context"
	"time"

	"charmer/workerproc"
)

// Calls of commands that are fast are sent ahead: to a worker that is busy with others of that kind, where they wait in its
// pipe for their turn, so that it need not wait for the pool between two of them. They stand in line there as they would in the
// queue. The line is as short as Config.Prefetch says, and as what its calls are expected to take; nobody is sent behind a
// command that is slow, or of which that is not known. If one takes longer all the same, those behind it are withdrawn: they have
// not begun, and wait for a worker like others, in front of all who came later.

const (
	aheadBudget = time.Millisecond       // that the calls in a line may be expected to take, all together
	aheadLook   = 4 * time.Millisecond   // in which a line has to move, or is dissolved
	awakeFor    = 200 * time.Microsecond // an answer
	paceCalls   = 8                      // calls before it is known how long a command takes
)

// pace is how long a command has taken lately.
type pace struct {
	calls int
	mean  time.Duration // moving, by an eighth
}

// paceLocked takes note of how long a call took in m. Names that m does not know are not kept, nor is what has no place in a line.
func (p *Pool) paceLocked(m *member, command string, run time.Duration) {
	if offered := m.offers.find(command); offered.Name == "" || offered.Fresh() {
		return
	}
	known, ok := p.paces[command]
	if !ok {
		known = &pace{mean: run}
		p.paces[command] = known
	}
	known.calls++
	known.mean += (run - known.mean) / 8
}

// costLocked returns how long a call is expected to take: more than the budget if that is not known.
func (p *Pool) costLocked(command string) time.Duration {
	if known, ok := p.paces[command]; ok && known.calls >= paceCalls {
		return known.mean
	}
	return aheadBudget + 1
}

// awakeLocked returns how long a processor stays awake for the answer to a call: not at all if the call is not the only one, or if
// its command is not so quick that waking up would take a good part of its time.
func (p *Pool) awakeLocked(command string) time.Duration {
	if p.active > 1 || p.costLocked(command) > awakeFor {
		return 0
	}
	return awakeFor
}

// mayGoAhead reports whether a request fits into a line at all. One that does not wait for a worker waits in none.
func (p *Pool) mayGoAhead(req Request, limit time.Duration) bool {
	return p.cfg.Prefetch > 0 && limit > 0 && req.Events == nil && len(req.Args) <= workerproc.MaxAhead
}

// joinsLineLocked reports whether a call may be sent ahead to m, which has a line.
func (p *Pool) joinsLineLocked(m *member, w want) bool {
	return w.ahead && !m.stuck && m.inUse <= p.cfg.Prefetch && m.cost+p.costLocked(w.command) <= aheadBudget &&
		m.offers.find(w.command).Concurrency <= 1 && m.worker.TakesAhead()
}

// watchLineLocked has somebody look whether the line moves that m has, which somebody has joined.
func (p *Pool) watchLineLocked(m *member) {
	if m.inUse == 2 { // it is a new one
		m.seen = -1
	}
	switch {
	case p.lineLook == nil:
		p.lineLook = time.AfterFunc(aheadLook, p.lookAtLines)
	case !p.looksAtLines:
		p.lineLook.Reset(aheadLook)
	}
	p.looksAtLines = true
}

// lookAtLines dissolves the lines that have not moved since the last look.
func (p *Pool) lookAtLines() {
	p.mu.Lock()
	var stuck []Worker
	p.looksAtLines = false
	for _, m := range p.joinable {
		if !m.inLine || m.inUse < 2 || m.stuck {
			continue
		}
		if m.seen == m.answers {
			m.stuck = true
			stuck = append(stuck, m.worker)
			continue
		}
		m.seen = m.answers
		p.looksAtLines = true
	}
	if p.looksAtLines && !p.closed {
		p.lineLook.Reset(aheadLook)
	}
	p.mu.Unlock()
	for _, w := range stuck {
		w.Withdraw()
	}
}

// holdAgain takes another place for a call that was withdrawn from h, before those who came later.
func (p *Pool) holdAgain(ctx context.Context, h held, req Request, x *execution) (held, error) {
	limit := min(orDefault(req.CheckoutTimeout, p.cfg.CheckoutTimeout), x.deadline.Sub(x.since)) - time.Since(x.since)
	g, err := p.acquireAgain(ctx, h, want{command: req.Command, ahead: true, newest: req.newest}, x.since, limit)
	if err == nil {
		return held{m: g.m, use: g.use}, nil
	}
	waited := time.Since(x.since)
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.explainLocked(err, waited)
	p.leaveLocked()
	p.counts.checkout(err, waited)
	return held{}, err
}

// acquireAgain gives back the use of h, and waits for another at most limit, in the order of since.
func (p *Pool) acquireAgain(ctx context.Context, h held, asked want, since time.Time, limit time.Duration) (grant, error) {
	p.mu.Lock()
	p.counts.withdrawn++
	w := p.queue.pushSince(ctx, asked, since) // so that what is given back passes nobody by
	h.m.stuck = true                          // its line takes nobody in until it moves
	p.takeBackLocked(h.m, h.use)
	if p.queue.remove(w) { // it has to look for itself
		if err := p.inVainLocked(); err != nil {
			p.mu.Unlock()
			return grant{}, err
		}
		if ctx.Err() == nil && limit > 0 {
			if g := p.takeLocked(asked); g.m != nil {
				p.mu.Unlock()
				return g, nil
			}
		}
		w = p.queue.pushSince(ctx, asked, since)
		p.waitedForLocked()
	}
	p.mu.Unlock()
	return p.await(ctx, w, limit)
}
