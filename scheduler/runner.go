package scheduler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/backoff"
	"argosy/scheduler/law"
	"argosy/scheduler/metric"
	"argosy/scheduler/policies"
	"argosy/scheduler/target"
)

const (
	callTimeout = 30 * time.Second
	// The first hold of a kind is logged where operators see it; one that keeps coming back, so often at most.
	repeatLog = time.Minute
	firstLook = 500 * time.Millisecond
)

// memory is what outlives a runner: a policy that is changed, or a reload, does not start from nothing.
type memory struct {
	mu     sync.Mutex
	policy policies.Policy
	state  law.State
}

// runner evaluates one policy again and again.
type runner struct {
	policy   policies.Policy
	source   metric.Source
	target   target.Target
	memory   *memory
	journal  *journal
	metrics  *metrics
	logger   hclog.Logger
	now      func() time.Time
	interval time.Duration
	beat     func(time.Time)

	budget budget
	last   law.Reason // of the last hold
	told   map[law.Reason]time.Time
}

// run evaluates in every interval until ctx ends.
func (r *runner) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.target.Run(ctx) })

	// The target gets a moment to find out about itself, or every start would begin with complaints.
	if backoff.Sleep(ctx, min(r.interval, firstLook)) != nil {
		return
	}
	tick := time.NewTicker(r.interval)
	defer tick.Stop()
	for {
		r.evaluate(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// evaluate looks at the world once and does what the law says.
func (r *runner) evaluate(ctx context.Context) {
	sample := r.source.Sample(ctx, r.policy.Query)
	if ctx.Err() != nil {
		return
	}
	now := r.now()
	status := r.target.Status(now)
	if why, closed := r.budget.closed(now); closed && status.Blocked == "" {
		status.Blocked, status.Detail = law.Backoff, why
	}
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	d, state := law.Decide(now, r.policy.Law, status, sample, r.memory.state)
	if d.Action != law.Hold {
		d, state = r.scale(ctx, d, state)
	}
	r.memory.state = state
	if ctx.Err() != nil && d.Reason == law.ScaleFailed {
		return // we are on the way out
	}
	r.journal.record(r.policy.Name, r.policy.Target.String(), d)
	r.metrics.observe(r.policy.Name, d)
	r.log(now, d)
	r.beat(now)
}

// scale asks the target for the decision, and returns what has become of it.
func (r *runner) scale(ctx context.Context, d law.Decision, state law.State) (law.Decision, law.State) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := r.target.Scale(ctx, target.Request{From: d.Current, To: d.Want, Message: message(r.policy.Name, d), Meta: meta(r.policy.Name, d)})
	now := r.now()
	var blocked *target.BlockedError
	switch {
	case err == nil:
		r.budget.succeeded()
		return d, state.Acted(now, d)
	case errors.As(err, &blocked):
		return d.Refused(blocked.Reason, blocked.Detail), state
	case errors.Is(err, target.ErrConflict):
		return d.Refused(law.Conflict, err.Error()), state
	}
	r.budget.failed(now, err)
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.metrics.errors.WithLabelValues(r.policy.Name).Inc()
	}
	return d.Refused(law.ScaleFailed, err.Error()), state
}

func message(policy string, d law.Decision) string {
	return "argosy policy " + policy + ": " + string(d.Reason) + ": " + d.Text
}

// meta are the numbers for the target's own history. Only finite ones: they become JSON.
func meta(policy string, d law.Decision) map[string]any {
	m := map[string]any{
		"policy": policy, "reason": string(d.Reason), "running": d.Running, "wish": d.Wish,
		"target_value": d.Terms.TargetValue, "peak": d.Terms.Peak, "limited_by": d.Terms.LimitedBy,
	}
	if !d.Reason.BadData() {
		m["value"] = d.Terms.Value
		m["age_seconds"] = d.Terms.AgeSeconds
	}
	return m
}

// log writes changes at info, the first hold of a kind at info or warn, and the others at debug.
func (r *runner) log(now time.Time, d law.Decision) {
	args := []any{"policy", r.policy.Name, "reason", d.Reason, "why", d.Text, "running", d.Running, "metric", d.Terms.Value}
	if d.Action != law.Hold {
		r.logger.Info("count changed", append(args, "from", d.Current, "to", d.Want)...)
		r.last = ""
		clear(r.told)
		return
	}
	level := hclog.Debug
	if told, ok := r.told[d.Reason]; d.Reason != r.last && (!ok || now.Sub(told) > repeatLog) {
		level = hclog.Info
		if d.Reason.Trouble() {
			level = hclog.Warn
		}
		r.told[d.Reason] = now
	}
	r.last = d.Reason
	r.logger.Log(level, "count held", append(args, "count", d.Current, "wish", d.Wish)...)
}
