package handlers

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"charmer/poolsvc"
)

// collector exports a pool to Prometheus. Every scrape reads one snapshot, so that the metrics agree with each other.
type collector struct {
	pool    *poolsvc.Pool
	version string

	workers, workersMin, workersMax, workersTarget, spares, sparesLimit, queueLength, queueLimit, oldestWait, queueWait, checkouts,
	emptyCheckouts, busy,
	executions, cancels, prefetch, runTime, starts, startTime, exits, backoff, leases, leaseEvents, leaseExpired, sessions, sessionLimit,
	sessionEvents, generation, reloads, ready, build *prometheus.Desc
}

func newCollector(pool *poolsvc.Pool, version string) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("charmer_"+name, help, labels, nil)
	}
	return &collector{
		pool: pool, version: version,
		workers:        desc("pool_workers", "Workers of the pool by state; their sum is the size.", "state"),
		workersMin:     desc("pool_workers_min", "Smallest size of the pool."),
		workersMax:     desc("pool_workers_max", "Largest size of the pool."),
		workersTarget:  desc("pool_workers_target", "Size that the pool should have now."),
		spares:         desc("pool_spares", "Ready workers without an owner, beside the pool."),
		sparesLimit:    desc("pool_spares_limit", "Spares that there are to be."),
		queueLength:    desc("pool_queue_length", "Requests that wait for a worker of the pool."),
		queueLimit:     desc("pool_queue_limit", "Most requests that may wait."),
		oldestWait:     desc("pool_queue_oldest_wait_seconds", "How long the first in the queue has waited."),
		queueWait:      desc("pool_queue_wait_seconds", "Wait for a worker, also of those who did not have to.", "outcome"),
		checkouts:      desc("checkout_total", "Attempts to get a worker.", "outcome"),
		emptyCheckouts: desc("pool_empty_checkout_total", "Attempts that had to wait at all."),
		busy:           desc("pool_busy_seconds_total", "Worker time spent in calls."),
		executions:     desc("execute_total", "Calls sent to a worker, or refused for their arguments before.", "outcome"),
		cancels:        desc("cancel_total", "Calls that were ended early, by how far that went.", "step"),
		prefetch:       desc("prefetch_total", "Calls sent ahead to a busy worker, and of them those taken back before they began.", "event"),
		runTime:        desc("execute_duration_seconds", "From sending a call to its answer.", "outcome"),
		starts:         desc("worker_starts_total", "Attempts to start a worker.", "method", "result"),
		startTime:      desc("worker_start_seconds", "From spawn to ready, in all and by phase; a fork has no import.", "method", "phase"),
		exits:          desc("worker_exits_total", "Ends of workers.", "reason"),
		backoff:        desc("worker_restart_backoff_seconds", "Time until the next attempt after failed starts."),
		leases:         desc("lease_active", "Leases held now."),
		leaseEvents:    desc("lease_total", "What became of leases.", "event"),
		leaseExpired:   desc("lease_expired_total", "Leases that nobody gave back in time."),
		sessions:       desc("sessions", "Sessions alive."),
		sessionLimit:   desc("sessions_limit", "Most sessions that may be alive."),
		sessionEvents:  desc("session_total", "What became of sessions.", "event"),
		generation:     desc("generation", "Generation of the app's code that workers are started with."),
		reloads:        desc("reload_total", "Reloads of the app.", "result"),
		ready:          desc("ready", "1 if the service is ready, else 0."),
		build:          desc("build_info", "Versions.", "version", "go_version"),
	}
}

// Describe sends nothing: all descriptions come with the metrics, which are the same at every scrape.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends one snapshot.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.pool.Stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for state, n := range map[poolsvc.State]int{
		poolsvc.StateStarting: s.Workers.Starting, poolsvc.StateIdle: s.Workers.Idle, poolsvc.StateBusy: s.Workers.Busy,
		poolsvc.StateLeased: s.Workers.Leased, poolsvc.StateStopping: s.Workers.Stopping,
	} {
		gauge(c.workers, float64(n), string(state))
	}
	gauge(c.workersMin, float64(s.Limits.MinWorkers))
	gauge(c.workersMax, float64(s.Limits.Workers))
	gauge(c.workersTarget, float64(s.Target))
	gauge(c.spares, float64(s.Workers.Spare))
	gauge(c.sparesLimit, float64(s.Limits.Spares))
	gauge(c.queueLength, float64(s.Queue.Length))
	gauge(c.queueLimit, float64(s.Queue.Limit))
	gauge(c.oldestWait, s.Queue.OldestWait.Seconds())
	gauge(c.backoff, s.Starts.Backoff.Seconds())
	gauge(c.leases, float64(s.Counts.LeasesActive))
	gauge(c.sessions, float64(len(s.Sessions)))
	gauge(c.sessionLimit, float64(s.Limits.Sessions))
	ready := 0.0
	if s.Ready {
		ready = 1
	}
	gauge(c.ready, ready)
	gauge(c.generation, float64(s.Generation))
	gauge(c.build, 1, c.version, runtime.Version())
	c.collectCounts(out, s.Counts)
}

func (c *collector) collectCounts(out chan<- prometheus.Metric, counts poolsvc.Counts) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	histogram := func(d *prometheus.Desc, h poolsvc.Histogram, labels ...string) {
		out <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), h.Buckets, labels...)
	}
	for outcome, n := range counts.Checkouts {
		counter(c.checkouts, float64(n), outcome)
	}
	for outcome, h := range counts.QueueWait {
		histogram(c.queueWait, h, outcome)
	}
	counter(c.emptyCheckouts, float64(counts.Waited))
	counter(c.busy, counts.Busy.Seconds())
	for outcome, n := range counts.Executions {
		counter(c.executions, float64(n), outcome)
	}
	for step, n := range counts.Cancels {
		counter(c.cancels, float64(n), step)
	}
	counter(c.prefetch, float64(counts.Ahead), "sent")
	counter(c.prefetch, float64(counts.Withdrawn), "withdrawn")
	for outcome, h := range counts.RunTime {
		histogram(c.runTime, h, outcome)
	}
	for by, n := range counts.StartsBy {
		counter(c.starts, float64(n), by.Method, by.Result)
	}
	for by, h := range counts.StartTime {
		histogram(c.startTime, h, by.Method, by.Phase)
	}
	for reason, n := range counts.Exits {
		counter(c.exits, float64(n), string(reason))
	}
	for result, n := range counts.Reloads {
		counter(c.reloads, float64(n), result)
	}
	counter(c.leaseExpired, float64(counts.LeasesExpired))
	for event, n := range map[string]int64{"granted": counts.LeasesGranted, "released": counts.LeasesReleased,
		"expired": counts.LeasesExpired, "lost": counts.LeasesLost} {
		counter(c.leaseEvents, float64(n), event)
	}
	for event, n := range map[string]int64{"created": counts.SessionsCreated, "ended": counts.SessionsEnded,
		"expired": counts.SessionsExpired, "lost": counts.SessionsLost} {
		counter(c.sessionEvents, float64(n), event)
	}
}
