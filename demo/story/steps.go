package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How long a step watches to be sure that something holds, and how many requests it takes for a share to mean anything.
const (
	watchFor    = 2 * time.Second
	drainFor    = 7 * time.Second // longer than the web servers keep a connection
	enoughCalls = 50
)

func start(ctx context.Context, t *telling) ([]string, error) {
	began := time.Now()
	if err := t.stage.Start(ctx, t.report.Progress); err != nil {
		return nil, err
	}
	took := time.Since(began)
	t.facts = t.stage.Facts() // links are known now
	t.stage.SetRate(ctx, t.facts.Calm)
	o, err := t.until(ctx, func(o Observation) string {
		switch {
		case o.Load.OK == 0:
			return fmt.Sprintf("no request has been answered yet, %d failed%s", o.Load.Failed, reasons(o))
		case len(o.Instances) < t.facts.Min:
			return fmt.Sprintf("%d instances of the fleet run, not %d", len(o.Instances), t.facts.Min)
		}
		return ""
	})
	t.before = o
	return []string{
		fmt.Sprintf("ready after %s", seconds(took)),
		fmt.Sprintf("%d agents share the traffic: %s", len(o.Instances), names(o.Instances)),
	}, err
}

// baseline checks where everything goes before anything is changed.
func baseline(ctx context.Context, t *telling) ([]string, error) {
	from, err := t.observe(ctx)
	if err != nil {
		return nil, err
	}
	due := time.Now().Add(watchFor)
	o, err := t.until(ctx, func(o Observation) string {
		if n := o.Web.Requests - from.Web.Requests; n < enoughCalls || time.Now().Before(due) {
			return fmt.Sprintf("%d requests so far", n)
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	measured := append([]string{"the web servers read a key on each new connection that tells which Redis it is"}, t.split(from, o)...)
	one, two := o.Backends[Redis1].Requests-from.Backends[Redis1].Requests, o.Backends[Redis2].Requests-from.Backends[Redis2].Requests
	if one == 0 || two != 0 {
		return measured, fmt.Errorf("%d requests went to redis1 and %d to redis2", one, two)
	}
	return append(measured, t.failures(from, o)), t.noFailure(from, o)
}

func refused(ctx context.Context, t *telling) ([]string, error) {
	refusal, err := t.stage.WithoutCertificate(ctx)
	if err != nil {
		return nil, err
	}
	if refusal == nil {
		return nil, errors.New("it was let in")
	}
	return []string{
		fmt.Sprintf("refused: %v", refusal),
		fmt.Sprintf("those who show a certificate of %s are served at the same time", t.facts.HowCertificate),
	}, nil
}

// shift moves everything with one update and measures how long that takes and what it costs.
func shift(ctx context.Context, t *telling) ([]string, error) {
	from, err := t.observe(ctx)
	if err != nil {
		return nil, err
	}
	// The web servers open a connection now and then; to see when the fleet has taken notice, more are needed.
	p := startProbing(ctx, t.stage)
	defer p.stop()
	began := time.Now()
	command, err := t.stage.Shift(ctx, Redis2)
	if err != nil {
		return nil, err
	}
	measured := []string{fmt.Sprintf("$ %s    (took %s)", command, seconds(time.Since(began)))}
	if err := p.settled(ctx, Redis2); err != nil {
		return measured, err
	}
	probes, err := p.stop()
	if err != nil {
		return measured, fmt.Errorf("a new connection failed: %w", err)
	}
	measured = append(measured, arrivals(probes, began))

	// Open connections are left alone until the web servers give them up.
	var at time.Time
	var o Observation
	fewest := from.Wanted
	moved, err := t.until(ctx, func(now Observation) string {
		fewest = min(fewest, now.Wanted)
		if open := now.Backends[Redis1].Connections; open > 0 {
			return fmt.Sprintf("%d connections to redis1 are still open", open)
		}
		if at.IsZero() {
			at, o = now.At, now
		}
		if time.Since(at) < watchFor {
			return "watching whether it stays so"
		}
		return ""
	})
	if err != nil {
		return measured, err
	}
	measured = append(measured,
		fmt.Sprintf("the web servers' last connection to redis1 was closed after %s; they give each up after about 5 s", seconds(at.Sub(began))),
		fmt.Sprintf("in the %s since then:", seconds(moved.At.Sub(at))))
	measured = append(measured, t.split(o, moved)...)
	if n := moved.Backends[Redis1].Requests - o.Backends[Redis1].Requests; n > 0 {
		return measured, fmt.Errorf("%d requests still went to redis1", n)
	}
	if gone := restarted(from.Instances, moved.Instances, fewest); len(gone) > 0 {
		return measured, fmt.Errorf("agents were restarted: %s; now there are %s", names(gone), names(moved.Instances))
	}
	if fewest < len(from.Instances) {
		measured = append(measured, fmt.Sprintf("meanwhile the scheduler has wanted only %d of the %d agents", fewest, len(from.Instances)))
	}
	measured = append(measured, "no agent was restarted: "+names(moved.Instances), t.failures(from, moved))
	return measured, t.noFailure(from, moved)
}

func grow(ctx context.Context, t *telling) ([]string, error) {
	from, err := t.until(ctx, func(o Observation) string {
		if o.Wanted >= t.facts.Max || len(o.Instances) != o.Wanted {
			return fmt.Sprintf("%d instances run and %d are wanted already, which leaves nothing to grow to; the most is %d", len(o.Instances), o.Wanted, t.facts.Max)
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	t.stage.SetRate(ctx, t.facts.Busy)
	first := time.Duration(0)
	decision := ""
	o, err := t.until(ctx, func(o Observation) string {
		if o.Wanted > len(from.Instances) && first == 0 {
			first = time.Since(began)
			decision = o.Decision.Why
		}
		fresh := serving(newIn(o.Instances, from.Instances))
		switch {
		case first == 0:
			return fmt.Sprintf("the scheduler still wants %d: %s", o.Wanted, o.Decision.Why)
		case len(o.Instances) < o.Wanted:
			return fmt.Sprintf("%d of %d instances run", len(o.Instances), o.Wanted)
		case len(fresh) < len(o.Instances)-len(from.Instances):
			return fmt.Sprintf("%d of %d new instances have served connections", len(fresh), len(o.Instances)-len(from.Instances))
		case time.Since(began) < 2*watchFor+first:
			return "watching whether it stays so"
		}
		return ""
	})
	measured := []string{fmt.Sprintf("load raised from %.0f to %.0f requests a second", t.facts.Calm, t.facts.Busy)}
	if err != nil {
		return measured, err
	}
	fresh := newIn(o.Instances, from.Instances)
	var connections []string
	for _, i := range fresh {
		connections = append(connections, fmt.Sprintf("%s %d", i.ID, i.Opened))
	}
	measured = append(measured,
		fmt.Sprintf("fleet grew from %d to %d; decided after %s: %s", len(from.Instances), len(o.Instances), seconds(first), decision),
		fmt.Sprintf("connections served by the new instances: %s", strings.Join(connections, ", ")),
		t.failures(from, o))
	t.before = o
	return measured, t.noFailure(from, o)
}

func shrink(ctx context.Context, t *telling) ([]string, error) {
	from := t.before
	high := len(from.Instances)
	began := time.Now()
	t.stage.SetRate(ctx, t.facts.Calm)
	first := time.Duration(0)
	decision := ""
	o, err := t.until(ctx, func(o Observation) string {
		high = max(high, len(o.Instances))
		if o.Wanted < high && first == 0 {
			first = time.Since(began)
			decision = o.Decision.Why
		}
		switch {
		case first == 0:
			return fmt.Sprintf("the scheduler still wants %d: %s", o.Wanted, o.Decision.Why)
		case len(o.Instances) != o.Wanted || o.Wanted > t.facts.Min:
			return fmt.Sprintf("%d instances run, %d are wanted, the least is %d", len(o.Instances), o.Wanted, t.facts.Min)
		}
		return ""
	})
	measured := []string{fmt.Sprintf("load lowered from %.0f to %.0f requests a second", t.facts.Busy, t.facts.Calm)}
	if err != nil {
		return measured, err
	}
	// What went is still draining; a failure would come now.
	settled := time.Now().Add(drainFor)
	o, err = t.until(ctx, func(Observation) string {
		if time.Now().Before(settled) {
			return "watching whether those that leave lose a connection"
		}
		return ""
	})
	if err != nil {
		return measured, err
	}
	measured = append(measured,
		fmt.Sprintf("fleet shrank from %d to %d; decided after %s: %s", high, len(o.Instances), seconds(first), decision),
		t.failures(from, o))
	return measured, t.noFailure(from, o)
}

func stop(ctx context.Context, t *telling) ([]string, error) {
	err := t.stage.Stop(ctx)
	left := t.stage.Remains()
	if len(left) > 0 {
		return nil, errors.Join(err, fmt.Errorf("left behind: %s", strings.Join(left, "; ")))
	}
	return []string{"no process, no port and no file is left"}, err
}

// newIn lists the instances of now that were not in before.
func newIn(now, before []Instance) []Instance {
	return slices.DeleteFunc(slices.Clone(now), func(i Instance) bool {
		return slices.ContainsFunc(before, func(b Instance) bool { return b.ID == i.ID && b.Pid == i.Pid })
	})
}

func serving(all []Instance) []Instance {
	return slices.DeleteFunc(slices.Clone(all), func(i Instance) bool { return i.Opened == 0 })
}
