package poolsvc

import (
	"container/list"
	"context"
	"time"
)

// waiter is a request that waits for a worker. Whoever takes it off its queue under Pool.mu settles it: a grant is then
// sent, exactly one, and the channel has room for it.
type waiter struct {
	want
	ctx     context.Context
	since   time.Time
	granted chan grant
	timer   *time.Timer // ends the wait; made by await
	queue   *queue
	place   *list.Element // nil when it is off the queue
}

// want is what somebody asks a worker for.
type want struct {
	lease   bool   // to hold it
	command string // to call; empty for a lease
	ahead   bool   // the call may be sent ahead
	newest  bool   // only to a worker of the current generation
}

// grant settles a waiter: a member that is its own now, or the error that ends its wait.
type grant struct {
	m     *member
	use   use
	fresh bool // first use of a session
	err   error
}

// queue is a first-in, first-out line of waiters. Pool.mu guards it.
type queue struct {
	waiters list.List
	leases  int       // waiters that want to hold the worker
	unused  []*waiter // whose wait is over, to be used again
}

func (q *queue) len() int { return q.waiters.Len() }

func (q *queue) push(ctx context.Context, asked want) *waiter {
	w := q.newWaiter(ctx, asked, time.Now())
	w.place = q.waiters.PushBack(w)
	if w.lease {
		q.leases++
	}
	return w
}

// pushSince is push for somebody who waits again, for a call: in front of those who have come since.
func (q *queue) pushSince(ctx context.Context, asked want, since time.Time) *waiter {
	w := q.newWaiter(ctx, asked, since)
	later := q.waiters.Front()
	for later != nil && later.Value.(*waiter).since.Before(since) {
		later = later.Next()
	}
	if later == nil {
		w.place = q.waiters.PushBack(w)
	} else {
		w.place = q.waiters.InsertBefore(w, later)
	}
	return w
}

func (q *queue) newWaiter(ctx context.Context, asked want, since time.Time) *waiter {
	var w *waiter
	if n := len(q.unused); n > 0 {
		w, q.unused = q.unused[n-1], q.unused[:n-1]
	} else {
		w = &waiter{granted: make(chan grant, 1), queue: q}
	}
	w.want, w.ctx, w.since = asked, ctx, since
	return w
}

// reuse keeps a waiter whose await has returned.
func (q *queue) reuse(w *waiter) {
	w.ctx = nil
	q.unused = append(q.unused, w)
}

// remove takes w off the queue, or returns false if it has been settled.
func (q *queue) remove(w *waiter) bool {
	if w.place == nil {
		return false
	}
	q.waiters.Remove(w.place)
	w.place = nil
	if w.lease {
		q.leases--
	}
	return true
}

// pop takes the oldest waiter that is still there and that may be served now, or returns nil. A waiter whose client has
// left is passed over; it takes itself off. So is one whose command does not fit, unless fits is nil.
func (q *queue) pop(leases bool, fits func(want) bool) *waiter {
	for e := q.waiters.Front(); e != nil; e = e.Next() {
		w := e.Value.(*waiter)
		if (w.lease && !leases) || w.ctx.Err() != nil || (fits != nil && !fits(w.want)) {
			continue
		}
		q.remove(w)
		return w
	}
	return nil
}

// popShared is pop for a place beside other calls: it takes the oldest waiter that may be served, if room says that it may
// have such a place. One that may not holds up those behind it.
func (q *queue) popShared(leases bool, fits func(want) bool, room func(want) bool) *waiter {
	for e := q.waiters.Front(); e != nil; e = e.Next() {
		w := e.Value.(*waiter)
		if (w.lease && !leases) || w.ctx.Err() != nil || (fits != nil && !fits(w.want)) {
			continue
		}
		if w.lease || !room(w.want) {
			return nil
		}
		q.remove(w)
		return w
	}
	return nil
}

// fail ends the wait of everybody.
func (q *queue) fail(err error) {
	for q.len() > 0 {
		w := q.waiters.Front().Value.(*waiter)
		q.remove(w)
		w.granted <- grant{err: err}
	}
}

// oldest returns the time since which the first waiter waits, or zero.
func (q *queue) oldest() time.Time {
	if front := q.waiters.Front(); front != nil {
		return front.Value.(*waiter).since
	}
	return time.Time{}
}

// since returns the time since which the first waiter waits that a worker would serve, or zero.
func (q *queue) since(leases bool) time.Time {
	for e := q.waiters.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); (!w.lease || leases) && w.ctx.Err() == nil {
			return w.since
		}
	}
	return time.Time{}
}

// late counts the waiters that wait since at or longer, and of leases no more than that many.
func (q *queue) late(at time.Time, leases int) int {
	n := 0
	for e := q.waiters.Front(); e != nil; e = e.Next() {
		w := e.Value.(*waiter)
		switch {
		case w.since.After(at):
			return n // as are all behind it
		case w.ctx.Err() != nil:
		case !w.lease:
			n++
		case leases > 0:
			leases--
			n++
		}
	}
	return n
}

// await waits for the grant of w, at most limit. A grant that crosses the end of the wait is passed on.
func (p *Pool) await(ctx context.Context, w *waiter, limit time.Duration) (grant, error) {
	if w.timer == nil {
		w.timer = time.NewTimer(limit)
	} else {
		w.timer.Reset(limit)
	}
	defer w.timer.Stop()
	var cause error
	select {
	case g := <-w.granted:
		return g, g.err
	case <-w.timer.C:
		cause = ErrCheckoutTimeout
	case <-ctx.Done():
		cause = whyEnded(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.queue.remove(w) {
		return grant{}, cause
	}
	if g := <-w.granted; g.m != nil {
		g.m.uses--
		if g.fresh {
			g.m.session.fresh = true
		}
		p.takeBackLocked(g.m, g.use)
	}
	return grant{}, cause
}
