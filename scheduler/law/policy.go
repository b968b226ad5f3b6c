// Package law is the scheduler's control law: a pure function from what is known (policy, count, metric, history) to
// what is to be done, with the reason. It does no I/O, reads no clock and keeps nothing.
//
//	decision, state := law.Decide(now, policy, status, sample, state)
//	if decision.Action != law.Hold && target.Scale(ctx, decision.Want) == nil {
//		state = state.Acted(now, decision)
//	}
package law

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// MaxCount is the largest count that a policy may ask for.
const MaxCount = 10_000

// Policy says how many instances a load deserves. The metric is the load of all instances together, so the count it asks
// for does not depend on how many there are: an instance that has been asked for and does not run yet is not asked for
// again.
type Policy struct {
	TargetValue float64 // load that one instance should carry, > 0
	Tolerance   float64 // share of the target that the load may be off without a change, 0 <= Tolerance < 1
	Min, Max    int     // bounds of the count, 0 <= Min <= Max, 1 <= Max <= MaxCount

	CooldownUp   time.Duration // between two steps up
	CooldownDown time.Duration // between any step and the next one down
	DownWindow   time.Duration // the count shrinks only to what the highest load within this time asks for
	MaxAge       time.Duration // a metric older than this is stale, > 0

	StepUp, StepDown int // largest change in one step; 0: no limit
}

// Validate says what is wrong with a policy, everything at once.
func (p Policy) Validate() error {
	var problems []error
	wrong := func(bad bool, format string, a ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, a...))
		}
	}
	wrong(!(p.TargetValue > 0) || math.IsInf(p.TargetValue, 0), "target_value is %v, must be a number above 0", p.TargetValue)
	wrong(!(p.Tolerance >= 0 && p.Tolerance < 1), "tolerance is %v, must be at least 0 and below 1", p.Tolerance)
	wrong(p.Min < 0, "min is %d, must not be negative", p.Min)
	wrong(p.Max < 1 || p.Max > MaxCount, "max is %d, must be between 1 and %d", p.Max, MaxCount)
	wrong(p.Min > p.Max, "min is %d, above max, which is %d", p.Min, p.Max)
	wrong(p.MaxAge <= 0, "max_age is %v, must be above 0", p.MaxAge)
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"cooldown_up", p.CooldownUp}, {"cooldown_down", p.CooldownDown}, {"down_window", p.DownWindow}} {
		wrong(d.value < 0, "%s is %v, must not be negative", d.name, d.value)
		wrong(d.value > 24*time.Hour, "%s is %v, must be at most 24h", d.name, d.value)
	}
	wrong(p.StepUp < 0, "step_up is %d, must not be negative", p.StepUp)
	wrong(p.StepDown < 0, "step_down is %d, must not be negative", p.StepDown)
	return errors.Join(problems...)
}

// Status is what the target says about the instances.
type Status struct {
	Known   bool
	Problem string // why nothing is known
	Desired int    // the count that was last accepted
	Running int
	// Blocked is the reason why the count cannot be changed now, such as Deploying; empty when it can.
	Blocked Reason
	Detail  string // says which deployment it is, or the like
}

// Sample is one reading of the metric. The zero Sample is "no data".
type Sample struct {
	Value float64
	At    time.Time // when it was measured
	// Problem is why there is no value: NoData, QueryFailed or Ambiguous; empty when there is one.
	Problem Reason
	// Partial says that some instances are not in the value, which is then too low rather than too high.
	Partial bool
	Detail  string // what went wrong, for people
}
