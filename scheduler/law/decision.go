package law

import (
	"encoding/json"
	"math"
	"time"
)

// Action is what is to be done.
type Action string

// The actions.
const (
	Up   Action = "up"
	Down Action = "down"
	Hold Action = "hold"
)

// Reason is why, as one word: it is a metric label and what operators search for.
type Reason string

// Reasons of a step.
const (
	AboveTarget Reason = "above_target"
	BelowTarget Reason = "below_target"
	BelowMin    Reason = "below_min" // corrected whatever the metric says
	AboveMax    Reason = "above_max" // corrected once the metric is known to be good
)

// Reasons to hold while all is well.
const (
	OnTarget     Reason = "on_target"
	AtMax        Reason = "at_max" // the load asks for more
	AtMin        Reason = "at_min" // the load asks for less
	CooldownUp   Reason = "cooldown_up"
	CooldownDown Reason = "cooldown_down"
	DownWindow   Reason = "down_window" // the load was high enough within the window
	WarmingUp    Reason = "warming_up"  // good data does not cover the window yet
)

// Reasons to hold because of the metric.
const (
	NoData      Reason = "no_data"
	QueryFailed Reason = "query_failed"
	Ambiguous   Reason = "ambiguous" // several series where there should be one
	Stale       Reason = "stale"
	Future      Reason = "future" // measured after now: the clocks differ
	NotANumber  Reason = "not_a_number"
	Infinite    Reason = "infinite"
	Negative    Reason = "negative"
	Absurd      Reason = "absurd"  // a jump that is hard to believe
	Partial     Reason = "partial" // enough to grow, not to shrink
)

// Reasons to hold because of the target.
const (
	StatusUnknown    Reason = "status_unknown"
	Deploying        Reason = "deploying"
	DeploymentFailed Reason = "deployment_failed"
	Stopped          Reason = "stopped"
	Backoff          Reason = "backoff" // calls have failed
	Unscalable       Reason = "unscalable"
	Conflict         Reason = "conflict"     // somebody else changed the count at the same time
	ScaleFailed      Reason = "scale_failed" // the call has failed
)

// BadData reports whether the reason is a metric that says nothing at all.
func (r Reason) BadData() bool {
	switch r {
	case NoData, QueryFailed, Ambiguous, Stale, Future, NotANumber, Infinite, Negative, Absurd:
		return true
	}
	return false
}

// Trouble reports whether an operator should hear of a hold with this reason without asking.
func (r Reason) Trouble() bool {
	switch r {
	case Partial, StatusUnknown, DeploymentFailed, Stopped, Backoff, Unscalable, ScaleFailed:
		return true
	}
	return r.BadData()
}

// Decision is what the law makes of one look at the world.
type Decision struct {
	At      time.Time `json:"at"`
	Action  Action    `json:"action"`
	Reason  Reason    `json:"reason"`
	Text    string    `json:"text"`    // the reason as a sentence
	Current int       `json:"current"` // the count that was last accepted
	Running int       `json:"running"`
	Want    int       `json:"want"` // the count to have now: Current when holding
	Wish    int       `json:"wish"` // the count that the load asks for, within the bounds, were nothing in the way
	Terms   Terms     `json:"terms"`
}

// Refused is the decision after the target has refused it: nothing changes, for the given reason.
func (d Decision) Refused(r Reason, why string) Decision {
	return d.hold(r, "%s; the wish for %d is kept", why, d.Want)
}

// Terms are what a decision was computed from.
type Terms struct {
	Value       Number  `json:"value"`
	AgeSeconds  float64 `json:"age_seconds"`
	TargetValue float64 `json:"target_value"`
	Peak        Number  `json:"peak"` // highest load within the down window
	Raw         int     `json:"raw"`  // count for the value, before bounds, windows and cooldowns
	Min         int     `json:"min"`
	Max         int     `json:"max"`
	LimitedBy   string  `json:"limited_by,omitempty"` // what cut the step: min, max, step_up, step_down
}

// Number is a float64 that also has a JSON form when it is not a number.
type Number float64

// MarshalJSON writes NaN and the infinities as strings.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	switch {
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	case math.IsInf(f, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Inf"`), nil
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Number) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"NaN"`:
		*n = Number(math.NaN())
		return nil
	case `"+Inf"`:
		*n = Number(math.Inf(1))
		return nil
	case `"-Inf"`:
		*n = Number(math.Inf(-1))
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}
