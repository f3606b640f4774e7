package poolsvc

import (
	"fmt"
	"time"
)

// HealthState sums a pool up in a word.
type HealthState string

// The states of health. Calls are served in HealthReady and HealthDegraded.
const (
	HealthStarting HealthState = "starting" // fewer than MinReady workers are up, and none has failed
	HealthReady    HealthState = "ready"
	HealthDegraded HealthState = "degraded" // serves, but workers fail to start
	HealthDraining HealthState = "draining"
	HealthFailed   HealthState = "failed" // does not serve, because workers fail to start
)

// Health returns the state, and why it is not HealthReady.
func (s Stats) Health() (HealthState, string) {
	up := s.Workers.Idle + s.Workers.Busy + s.Workers.Leased
	switch {
	case s.Leaving:
		return HealthDraining, "the service is shutting down"
	case s.Starts.Failures > 0 && s.Ready && up > 0:
		return HealthDegraded, s.Starts.reason()
	case s.Starts.Failures > 0:
		return HealthFailed, s.Starts.reason()
	case !s.Ready:
		return HealthStarting, fmt.Sprintf("%d of %d workers are ready", up, s.Target)
	default:
		return HealthReady, ""
	}
}

// reason says why workers do not start.
func (s StartStats) reason() string {
	reason := fmt.Sprintf("%d failed starts in a row", s.Failures)
	if s.Last == nil {
		return reason
	}
	reason += ", the last in " + s.Last.Stage + ": " + s.Last.Detail
	if s.Last.Exit.Reason != "" {
		reason += " (" + s.Last.Exit.Reason + ")"
	}
	return reason
}

// NotReady returns nil if traffic should come here, and at least minIdle workers are idle. Otherwise it returns a
// *RefusedError that says why not.
func (s Stats) NotReady(minIdle int) error {
	state, reason := s.Health()
	refused := &RefusedError{Detail: reason, RetryAfter: time.Second}
	switch {
	case state == HealthDraining:
		refused.Err = ErrDraining
	case state == HealthFailed:
		refused.Err, refused.RetryAfter = ErrCrashLooping, max(time.Second, s.Starts.Backoff)
		refused.Start = s.Starts.Last
	case !s.Ready:
		refused.Err = ErrStarting
	case s.Workers.Idle < minIdle:
		refused.Err = ErrCheckoutTimeout
		refused.Detail = fmt.Sprintf("%d workers are idle, %d are asked for", s.Workers.Idle, minIdle)
	default:
		return nil
	}
	return refused
}
