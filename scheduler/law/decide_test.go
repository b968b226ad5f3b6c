package law

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func fleet() Policy {
	return Policy{
		TargetValue: 50, Tolerance: 0.1, Min: 1, Max: 10,
		CooldownUp: 10 * time.Second, CooldownDown: 60 * time.Second, DownWindow: 30 * time.Second, MaxAge: 10 * time.Second,
	}
}

func running(n int) Status             { return Status{Known: true, Desired: n, Running: n} }
func at(t time.Time, v float64) Sample { return Sample{Value: v, At: t} }

// past is a state after a minute of the given load, all of it good.
func past(p Policy, load float64) State {
	var s State
	for t := epoch.Add(-time.Minute); t.Before(epoch); t = t.Add(2 * time.Second) {
		s = s.observed(t, load, true, p)
	}
	return s
}

func TestDecide(t *testing.T) {
	ago := func(d time.Duration) time.Time { return epoch.Add(-d) }
	edit := func(f func(*Policy)) Policy { p := fleet(); f(&p); return p }
	calm := func(load float64) State { return past(fleet(), load) }
	after := func(s State, up, down time.Duration) State {
		if up > 0 {
			s.LastUp = ago(up)
		}
		if down > 0 {
			s.LastDown = ago(down)
		}
		return s
	}
	blocked := func(n int, r Reason) Status {
		s := running(n)
		s.Blocked, s.Detail = r, "deployment 12ab is running"
		return s
	}

	for _, c := range []struct {
		name   string
		policy Policy
		status Status
		sample Sample
		state  State
		action Action
		want   int
		reason Reason
		text   string
	}{
		{"grows to what the load asks for", fleet(), running(2), at(epoch, 240), calm(90), Up, 5, AboveTarget, "asks for 5"},
		{"grows without any past", fleet(), running(2), at(epoch, 240), State{}, Up, 5, AboveTarget, ""},
		{"is content on target", fleet(), running(2), at(epoch, 100), calm(100), Hold, 2, OnTarget, ""},
		{"is content within the band above", fleet(), running(2), at(epoch, 110), calm(100), Hold, 2, OnTarget, ""},
		{"grows beyond the band", fleet(), running(2), at(epoch, 110.1), calm(100), Up, 3, AboveTarget, ""},
		{"is content within the band below", edit(func(p *Policy) { p.Max = 40 }), running(30), at(epoch, 1360), past(fleet(), 1360), Hold, 30, OnTarget, ""},
		{"shrinks below the band", edit(func(p *Policy) { p.Max = 40 }), running(30), at(epoch, 1340), past(fleet(), 1340), Down, 27, BelowTarget, ""},
		{"does not round up a sum of tenths", edit(func(p *Policy) { p.TargetValue = 0.2; p.Tolerance = 0 }), running(3), at(epoch, 0.6), past(fleet(), 0.6), Hold, 3, OnTarget, ""},
		{"stops at max", fleet(), running(9), at(epoch, 5000), calm(400), Up, 10, AboveTarget, ""},
		{"says that max holds it back", fleet(), running(10), at(epoch, 5000), calm(400), Hold, 10, AtMax, "asks for 100; max is 10"},
		{"says that min holds it back", edit(func(p *Policy) { p.Min = 2 }), running(2), at(epoch, 1), calm(1), Hold, 2, AtMin, ""},
		{"counts what is not running yet", fleet(), Status{Known: true, Desired: 5, Running: 1}, at(epoch, 240), calm(90), Hold, 5, OnTarget, ""},
		{"waits between steps up", fleet(), running(2), at(epoch, 240), after(calm(90), 5*time.Second, 0), Hold, 2, CooldownUp, "cooldown_up is 10s"},
		{"grows right after shrinking", fleet(), running(2), at(epoch, 240), after(calm(90), 0, time.Second), Up, 5, AboveTarget, ""},
		{"goes up in limited steps", edit(func(p *Policy) { p.StepUp = 1 }), running(2), at(epoch, 240), calm(90), Up, 3, AboveTarget, ""},

		{"shrinks to what the load asks for", fleet(), running(5), at(epoch, 90), calm(90), Down, 2, BelowTarget, ""},
		{"shrinks to the peak only", fleet(), running(5), at(epoch, 10), calm(190), Down, 4, BelowTarget, ""},
		{"does not shrink below the peak", fleet(), running(5), at(epoch, 10), calm(230), Hold, 5, DownWindow, "230"},
		{"does not shrink without a past", fleet(), running(5), at(epoch, 90), State{}, Hold, 5, WarmingUp, ""},
		{"does not shrink soon after shrinking", fleet(), running(5), at(epoch, 90), after(calm(90), 0, 59*time.Second), Hold, 5, CooldownDown, ""},
		{"does not shrink soon after growing", fleet(), running(5), at(epoch, 90), after(calm(90), 59*time.Second, 0), Hold, 5, CooldownDown, ""},
		{"shrinks after the cooldown", fleet(), running(5), at(epoch, 90), after(calm(90), 61*time.Second, 61*time.Second), Down, 2, BelowTarget, ""},
		{"goes down in limited steps", edit(func(p *Policy) { p.StepDown = 1 }), running(5), at(epoch, 90), calm(90), Down, 4, BelowTarget, ""},
		{"stops at min", edit(func(p *Policy) { p.Min = 3 }), running(5), at(epoch, 0), calm(0), Down, 3, BelowTarget, ""},
		{"keeps one for a load of nearly nothing", edit(func(p *Policy) { p.Min = 0 }), running(2), at(epoch, 0.01), calm(0.01), Down, 1, BelowTarget, ""},
		{"goes to zero only when allowed", edit(func(p *Policy) { p.Min = 0 }), running(1), at(epoch, 0), calm(0), Down, 0, BelowTarget, ""},
		{"wakes from zero", edit(func(p *Policy) { p.Min = 0 }), running(0), at(epoch, 1), calm(0), Up, 1, AboveTarget, ""},
		{"stays at zero", edit(func(p *Policy) { p.Min = 0 }), running(0), at(epoch, 0), calm(0), Hold, 0, OnTarget, ""},

		{"holds without a sample", fleet(), running(5), Sample{}, calm(90), Hold, 5, NoData, ""},
		{"holds when the query fails", fleet(), running(5), Sample{Problem: QueryFailed, Detail: "connection refused"}, calm(90), Hold, 5, QueryFailed, "connection refused"},
		{"holds on NaN", fleet(), running(5), at(epoch, math.NaN()), calm(90), Hold, 5, NotANumber, ""},
		{"holds on +Inf", fleet(), running(5), at(epoch, math.Inf(1)), calm(90), Hold, 5, Infinite, ""},
		{"holds on -Inf", fleet(), running(5), at(epoch, math.Inf(-1)), calm(90), Hold, 5, Infinite, ""},
		{"holds on a negative load", fleet(), running(5), at(epoch, -1), calm(90), Hold, 5, Negative, ""},
		{"holds on an old sample", fleet(), running(5), at(ago(11*time.Second), 240), calm(90), Hold, 5, Stale, "max_age is 10s"},
		{"takes a sample that is not too old", fleet(), running(2), at(ago(9*time.Second), 240), calm(90), Up, 5, AboveTarget, ""},
		{"holds on a sample from the future", fleet(), running(5), at(epoch.Add(time.Minute), 240), calm(90), Hold, 5, Future, "clocks"},
		{"holds on a jump that is hard to believe", fleet(), running(1), at(epoch, 5001), calm(40), Hold, 1, Absurd, "jumped"},
		{"holds on the impossible", fleet(), running(1), at(epoch, 1e18), past(fleet(), 1e18), Hold, 1, Absurd, "instances"},
		{"grows on incomplete data", fleet(), running(2), Sample{Value: 240, At: epoch, Partial: true}, calm(90), Up, 5, AboveTarget, ""},
		{"does not shrink on incomplete data", fleet(), running(5), Sample{Value: 40, At: epoch, Partial: true, Detail: "1 of 5 agents does not answer"}, calm(40), Hold, 5, Partial, "1 of 5"},

		{"restores min", edit(func(p *Policy) { p.Min = 3 }), running(1), at(epoch, 40), calm(40), Up, 3, BelowMin, ""},
		{"restores min on bad data, in a cooldown", edit(func(p *Policy) { p.Min = 3 }), running(1), at(epoch, math.NaN()), after(calm(40), time.Second, 0), Up, 3, BelowMin, ""},
		{"restores min and more", edit(func(p *Policy) { p.Min = 3 }), running(1), at(epoch, 240), calm(40), Up, 5, BelowMin, ""},
		{"restores max", fleet(), running(12), at(epoch, 5000), State{}, Down, 10, AboveMax, ""},
		{"does not restore max on bad data", fleet(), running(12), at(epoch, math.NaN()), calm(90), Hold, 12, NotANumber, ""},
		{"does not restore max on incomplete data", fleet(), running(12), Sample{Value: 40, At: epoch, Partial: true}, calm(90), Hold, 12, Partial, ""},

		{"holds during a deployment and keeps the wish", fleet(), blocked(2, Deploying), at(epoch, 240), calm(90), Hold, 2, Deploying, "deployment 12ab is running; the wish for 5 is kept"},
		{"holds below min during a deployment", edit(func(p *Policy) { p.Min = 3 }), blocked(1, Deploying), at(epoch, 10), calm(90), Hold, 1, Deploying, ""},
		{"is on target during a deployment", fleet(), blocked(2, Deploying), at(epoch, 100), calm(90), Hold, 2, OnTarget, ""},
		{"holds when nothing is known", fleet(), Status{Problem: "Nomad has no leader"}, at(epoch, 240), calm(90), Hold, 0, StatusUnknown, "no leader"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := Decide(epoch, c.policy, c.status, c.sample, c.state)
			if d.Action != c.action || d.Want != c.want || d.Reason != c.reason {
				t.Errorf("got %s to %d because of %s, want %s to %d because of %s\n%s", d.Action, d.Want, d.Reason, c.action, c.want, c.reason, d.Text)
			}
			if !strings.Contains(d.Text, c.text) || d.Text == "" {
				t.Errorf("text %q lacks %q", d.Text, c.text)
			}
			if _, err := json.Marshal(d); err != nil {
				t.Errorf("no JSON: %v", err)
			}
		})
	}
}

// A jump is believed once it has been seen, and nothing else, for MaxAge.
func TestJumpIsBelievedAfterAWhile(t *testing.T) {
	p := fleet()
	see := func(values ...float64) Decision {
		state, d := past(p, 40), Decision{}
		for i, v := range values {
			now := epoch.Add(time.Duration(i) * 2 * time.Second)
			d, state = Decide(now, p, running(1), at(now, v), state)
		}
		return d
	}
	const jump = 6000
	if d := see(jump, jump, jump, jump, jump); d.Action != Hold || d.Reason != Absurd {
		t.Errorf("believed after 8s: %+v", d)
	}
	if d := see(jump, jump, jump, jump, jump, jump); d.Action != Up || d.Want != 10 {
		t.Errorf("not believed after 10s: %+v", d)
	}
	for _, other := range []float64{40, math.NaN()} {
		if d := see(jump, jump, jump, jump, other, jump); d.Reason != Absurd {
			t.Errorf("believed although %v came between: %+v", other, d)
		}
	}
}

// After an outage the window has to fill again before anything is shrunk.
func TestOutageForbidsShrinking(t *testing.T) {
	p := fleet()
	state := past(p, 90)
	now := epoch
	for range 10 { // 20s of failures
		_, state = Decide(now, p, running(5), Sample{Problem: QueryFailed}, state)
		now = now.Add(2 * time.Second)
	}
	back := now
	for {
		var d Decision
		d, state = Decide(now, p, running(5), at(now, 90), state)
		if d.Action == Down {
			break
		}
		if d.Reason != WarmingUp {
			t.Fatalf("after %v: %+v", now.Sub(back), d)
		}
		now = now.Add(2 * time.Second)
	}
	if waited := now.Sub(back); waited != p.DownWindow {
		t.Errorf("shrunk %v after the outage, want %v", waited, p.DownWindow)
	}
	// A short gap changes nothing.
	state = past(p, 90)
	_, state = Decide(epoch, p, running(5), Sample{}, state)
	if d, _ := Decide(epoch.Add(2*time.Second), p, running(5), at(epoch.Add(2*time.Second), 90), state); d.Action != Down {
		t.Errorf("after a short gap: %+v", d)
	}
}

// With only incomplete data in the window, the last complete reading is too old to prove anything.
func TestIncompleteDataDoesNotFillTheWindow(t *testing.T) {
	p := fleet()
	var state State
	now := epoch
	for range 30 {
		_, state = Decide(now, p, running(5), Sample{Value: 40, At: now, Partial: true}, state)
		now = now.Add(2 * time.Second)
	}
	if d, _ := Decide(now, p, running(5), at(now, 40), state); d.Reason != WarmingUp {
		t.Errorf("%+v", d)
	}
}

func TestClockSetBack(t *testing.T) {
	p := fleet()
	state := past(p, 90)
	state.LastUp, state.LastDown = epoch, epoch
	now := epoch.Add(-time.Hour)
	d, state := Decide(now, p, running(2), at(now, 240), state)
	if d.Reason != CooldownUp {
		t.Errorf("%+v", d)
	}
	now = now.Add(p.CooldownUp)
	if d, _ := Decide(now, p, running(2), at(now, 240), state); d.Action != Up {
		t.Errorf("the cooldown lasts until the clock has caught up: %+v", d)
	}
}

func TestValidate(t *testing.T) {
	if err := fleet().Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Policy){
		"target_value is 0": func(p *Policy) { p.TargetValue = 0 }, "target_value is NaN": func(p *Policy) { p.TargetValue = math.NaN() },
		"target_value is +Inf": func(p *Policy) { p.TargetValue = math.Inf(1) }, "tolerance": func(p *Policy) { p.Tolerance = 1 },
		"min is -1": func(p *Policy) { p.Min = -1 }, "max is 0": func(p *Policy) { p.Min, p.Max = 0, 0 },
		"above max": func(p *Policy) { p.Min = 11 }, "max_age": func(p *Policy) { p.MaxAge = 0 },
		"cooldown_up": func(p *Policy) { p.CooldownUp = -1 }, "down_window": func(p *Policy) { p.DownWindow = 25 * time.Hour },
		"step_down": func(p *Policy) { p.StepDown = -1 },
	} {
		p := fleet()
		change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestNumberHasAJSONForm(t *testing.T) {
	for _, f := range []float64{1.5, math.NaN(), math.Inf(1), math.Inf(-1)} {
		b, err := json.Marshal(Number(f))
		if err != nil {
			t.Fatal(err)
		}
		var back Number
		if err := json.Unmarshal(b, &back); err != nil || float64(back) != f && !math.IsNaN(f) {
			t.Errorf("%v became %s became %v (%v)", f, b, back, err)
		}
	}
}
