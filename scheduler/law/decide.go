package law

import (
	"fmt"
	"math"
	"time"
)

const (
	// A value so many times the last one, or what the present count is for, has to be seen for MaxAge to be believed.
	believable = 100
	// A load for more instances than this is not a load.
	impossible = 1e6
	// Ratios that differ by less are rounding: 0.6/0.2 must be 3.
	rounding = 1e-9
)

// Decide says what to do now. It never asks for a count outside [Min, Max]; on bad data it does nothing but restore Min;
// on partial data it does not shrink. The returned state is to be handed in the next time; after a step that was
// accepted, through Acted. Both status and sample may be of some time ago: Decide is told how old the sample is, and the
// target must itself forget a status that is too old.
func Decide(now time.Time, p Policy, status Status, sample Sample, state State) (Decision, State) {
	state = state.unjump(now)
	d := Decision{
		At: now, Action: Hold, Current: status.Desired, Running: status.Running, Want: status.Desired, Wish: status.Desired,
		Terms: Terms{Value: Number(sample.Value), TargetValue: p.TargetValue, Min: p.Min, Max: p.Max, Peak: Number(state.peak())},
	}
	if !sample.At.IsZero() {
		d.Terms.AgeSeconds = now.Sub(sample.At).Seconds()
	}
	bad, detail := examine(now, p, status, sample, &state)
	if bad == "" {
		state = state.observed(now, sample.Value, !sample.Partial, p)
		d.Terms.Peak = Number(state.peak())
		d.Terms.Raw = instances(sample.Value, p)
		d.Wish = clamp(d.Terms.Raw, p.Min, p.Max)
	}
	if !status.Known {
		return d.hold(StatusUnknown, "nothing is known about the instances: %s", orUnknown(status.Problem)), state
	}

	to, reason, why := propose(now, p, status.Desired, bad, detail, sample, state, &d)
	step := to != status.Desired
	if step {
		to = limitStep(to, p, &d)
	}
	switch {
	case !step:
		return d.hold(reason, "%s", why), state
	case status.Blocked != "":
		return d.hold(status.Blocked, "%s; the wish for %d is kept", blockedText(status), to), state
	case to > status.Desired && reason != BelowMin && now.Sub(state.LastUp) < p.CooldownUp && !state.LastUp.IsZero():
		return d.hold(CooldownUp, "%s; the last step up was %s ago, cooldown_up is %v", why, ago(now, state.LastUp), p.CooldownUp), state
	}
	d.Want, d.Reason, d.Text, d.Action = to, reason, why, Up
	if to < status.Desired {
		d.Action = Down
	}
	return d, state
}

// propose says which count the load and the bounds ask for, and why that one; the count it is given when nothing should
// change.
func propose(now time.Time, p Policy, count int, bad Reason, detail string, sample Sample, state State, d *Decision) (int, Reason, string) {
	if count < p.Min {
		return max(p.Min, d.Wish), BelowMin, fmt.Sprintf("the count is %d, below min, which is %d", count, p.Min)
	}
	if bad != "" {
		return count, bad, detail
	}
	if count > p.Max {
		if sample.Partial {
			return count, Partial, "the count is above max, but it is not lowered on incomplete data: " + sample.Detail
		}
		d.Terms.LimitedBy = "max"
		return p.Max, AboveMax, fmt.Sprintf("the count is %d, above max, which is %d", count, p.Max)
	}

	load := fmt.Sprintf("a load of %.6g with no instances", sample.Value)
	if count > 0 {
		load = fmt.Sprintf("a load of %.6g is %.4g%% of the target for %d", sample.Value, 100*sample.Value/(p.TargetValue*float64(count)), count)
	}
	raw := d.Terms.Raw
	switch {
	case raw > count && (count == 0 || sample.Value > p.TargetValue*float64(count)*(1+p.Tolerance)):
		if count == p.Max {
			d.Terms.LimitedBy = "max"
			return count, AtMax, fmt.Sprintf("%s, which asks for %d; max is %d", load, raw, p.Max)
		}
		if raw > p.Max {
			d.Terms.LimitedBy = "max"
		}
		return d.Wish, AboveTarget, fmt.Sprintf("%s, which asks for %d", load, raw)
	case raw < count && sample.Value <= p.TargetValue*float64(count)*(1-p.Tolerance):
		return shrink(now, p, count, load, sample, state, d)
	}
	return count, OnTarget, load
}

// shrink is propose for a load that asks for less.
func shrink(now time.Time, p Policy, count int, load string, sample Sample, state State, d *Decision) (int, Reason, string) {
	if count == p.Min {
		d.Terms.LimitedBy = "min"
		return count, AtMin, fmt.Sprintf("%s, which asks for %d; min is %d", load, d.Terms.Raw, p.Min)
	}
	if sample.Partial {
		return count, Partial, "not lowered on incomplete data: " + sample.Detail
	}
	peak := state.peak()
	to := clamp(instances(peak, p), p.Min, p.Max)
	if to >= count || peak > p.TargetValue*float64(count)*(1-p.Tolerance) {
		return count, DownWindow, fmt.Sprintf("%s, but it was %.6g within the last %v", load, peak, p.DownWindow)
	}
	if !state.covered(now, p) {
		return count, WarmingUp, fmt.Sprintf("%s, but there has been good data for %s only, of the %v that are looked at",
			load, ago(now, state.since), p.DownWindow)
	}
	last := state.LastDown
	if state.LastUp.After(last) {
		last = state.LastUp
	}
	if !last.IsZero() && now.Sub(last) < p.CooldownDown {
		return count, CooldownDown, fmt.Sprintf("%s; the last step was %s ago, cooldown_down is %v", load, ago(now, last), p.CooldownDown)
	}
	if to == p.Min && instances(peak, p) < p.Min {
		d.Terms.LimitedBy = "min"
	}
	return to, BelowTarget, fmt.Sprintf("%s, and the highest within the last %v, %.6g, asks for %d", load, p.DownWindow, peak, to)
}

// examine says what is wrong with a sample; an empty reason means that it can be used.
func examine(now time.Time, p Policy, status Status, s Sample, state *State) (Reason, string) {
	v := s.Value
	suspect := state.suspect
	state.suspect = time.Time{} // it takes one reading after the other, with nothing else between, to be believed
	switch age := now.Sub(s.At); {
	case s.Problem != "":
		return s.Problem, orUnknown(s.Detail)
	case s.At.IsZero():
		return NoData, "there is no data"
	case math.IsNaN(v):
		return NotANumber, "the metric is NaN"
	case math.IsInf(v, 0):
		return Infinite, fmt.Sprintf("the metric is %v", v)
	case v < 0:
		return Negative, fmt.Sprintf("the metric is %v", v)
	case age > p.MaxAge:
		return Stale, fmt.Sprintf("the metric is %s old, max_age is %v", age.Round(100*time.Millisecond), p.MaxAge)
	case -age > p.MaxAge:
		return Future, fmt.Sprintf("the metric is of a time %s from now: the clocks differ", (-age).Round(100*time.Millisecond))
	case v/p.TargetValue > impossible:
		return Absurd, fmt.Sprintf("the metric is %.6g, a load for more than %.0f instances", v, impossible)
	}
	if limit := believable * max(state.value, p.TargetValue*float64(max(1, status.Desired))); v > limit {
		if suspect.IsZero() {
			suspect = now
		}
		state.suspect = suspect
		if seen := now.Sub(state.suspect); seen < p.MaxAge {
			return Absurd, fmt.Sprintf("the metric has jumped to %.6g, more than %d times what it was; believed after %v", v, believable, p.MaxAge)
		}
	}
	return "", ""
}

// instances is the count for a load, without bounds.
func instances(value float64, p Policy) int {
	n := value / p.TargetValue
	if whole := math.Round(n); math.Abs(n-whole) <= rounding*math.Max(1, whole) {
		n = whole
	}
	return int(math.Ceil(math.Min(n, impossible)))
}

func limitStep(to int, p Policy, d *Decision) int {
	switch top := max(d.Current+p.StepUp, p.Min); {
	case p.StepUp > 0 && to > top:
		d.Terms.LimitedBy = "step_up"
		return top
	case p.StepDown > 0 && to < d.Current-p.StepDown && d.Current <= p.Max:
		d.Terms.LimitedBy = "step_down"
		return d.Current - p.StepDown
	}
	return to
}

func (d Decision) hold(r Reason, format string, a ...any) Decision {
	d.Action, d.Reason, d.Want, d.Text = Hold, r, d.Current, fmt.Sprintf(format, a...)
	return d
}

func blockedText(s Status) string {
	if s.Detail != "" {
		return s.Detail
	}
	return string(s.Blocked)
}

func orUnknown(s string) string {
	if s == "" {
		return "no reason given"
	}
	return s
}

func ago(now, t time.Time) string { return now.Sub(t).Round(100 * time.Millisecond).String() }

func clamp(n, low, high int) int { return min(max(n, low), high) }
