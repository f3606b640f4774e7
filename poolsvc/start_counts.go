package poolsvc

import (
	"maps"
	"time"
)

// Start names attempts to start a worker: Method is "exec" or "fork", Result "ok" or "failed".
type Start struct{ Method, Result string }

// StartPhase names a part of the time until a worker was ready: "spawn", "import", "handshake", as workerproc.Phases has
// them, or "total".
type StartPhase struct{ Method, Phase string }

var (
	startMethods = []string{"exec", "fork"}
	startResults = []string{"ok", "failed"}
	startPhases  = []string{"spawn", "import", "handshake", "total"}
)

func (c *counters) prepareStarts() {
	for _, method := range startMethods {
		for _, result := range startResults {
			c.starts[Start{method, result}] = 0
		}
		for _, phase := range startPhases {
			c.startTime[StartPhase{method, phase}] = &histogram{}
		}
	}
}

// started counts a worker that has become ready. One that did not import the app has no time for that.
func (c *counters) started(w Worker) {
	method, phases := w.StartMethod(), w.Phases()
	c.starts[Start{method, "ok"}]++
	observe := func(phase string, d time.Duration) { c.startTime[StartPhase{method, phase}].observe(d) }
	observe("spawn", phases.Spawn)
	if phases.Import > 0 {
		observe("import", phases.Import)
	}
	observe("handshake", phases.Handshake)
	observe("total", w.ReadyAfter())
}

// startFailed counts a worker that has not become ready.
func (c *counters) startFailed(method string) { c.starts[Start{method, "failed"}]++ }

func (c *counters) snapshotStarts(out *Counts) {
	out.StartsBy, out.Starts, out.StartTime = maps.Clone(c.starts), map[string]int64{}, map[StartPhase]Histogram{}
	for by, n := range c.starts {
		out.Starts[by.Result] += n
	}
	for phase, h := range c.startTime {
		out.StartTime[phase] = h.snapshot()
	}
}
