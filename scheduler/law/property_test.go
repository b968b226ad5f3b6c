package law

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// world makes random policies, loads and troubles.
type world struct{ *rand.Rand }

func (w world) policy() Policy {
	p := Policy{
		TargetValue: []float64{0.1, 1, 50, 1000}[w.IntN(4)], Tolerance: []float64{0, 0.1, 0.5}[w.IntN(3)], Min: w.IntN(4),
		CooldownUp: w.seconds(20), CooldownDown: w.seconds(90), DownWindow: w.seconds(60), MaxAge: time.Second + w.seconds(30),
	}
	p.Max = max(p.Min, 1) + w.IntN(20)
	if w.IntN(3) == 0 {
		p.StepUp = 1 + w.IntN(3)
	}
	if w.IntN(3) == 0 {
		p.StepDown = 1 + w.IntN(3)
	}
	return p
}

func (w world) seconds(n int) time.Duration { return time.Duration(w.IntN(n)) * time.Second }

func (w world) sample(now time.Time, p Policy) Sample {
	s := Sample{Value: w.Float64() * 25 * p.TargetValue, At: now.Add(-w.seconds(8))}
	switch w.IntN(16) {
	case 0:
		s.Value = math.NaN()
	case 1:
		s.Value = math.Inf(1 - 2*w.IntN(2))
	case 2:
		s.Value = -s.Value - 1
	case 3:
		s.At = now.Add(-time.Hour)
	case 4:
		s.Problem = QueryFailed
	case 5:
		s = Sample{}
	case 6, 7:
		s.Partial = true
	case 8:
		s.Value = 1e300
	case 9:
		s.Value *= 1000
	case 10:
		s.Value = 0
	}
	return s
}

func (w world) status(count int) Status {
	s := Status{Known: w.IntN(12) > 0, Desired: count, Running: w.IntN(count + 1)}
	if w.IntN(8) == 0 {
		s.Blocked = Deploying
	}
	return s
}

func usable(now time.Time, p Policy, s Sample) bool {
	age := now.Sub(s.At)
	return s.Problem == "" && !s.At.IsZero() && age <= p.MaxAge && -age <= p.MaxAge && s.Value >= 0 && s.Value <= 1e6*p.TargetValue
}

// Whatever happens, in whatever order.
func TestLaws(t *testing.T) {
	for seed := range uint64(300) {
		w := world{rand.New(rand.NewPCG(seed, 1))}
		p := w.policy()
		if err := p.Validate(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		count, state, now := w.IntN(25), State{}, epoch
		var lastUp, lastStep time.Time
		for range 200 {
			now = now.Add(time.Duration(1+w.IntN(5)) * time.Second)
			status, sample := w.status(count), w.sample(now, p)
			before := len(state.peaks)
			d, next := Decide(now, p, status, sample, state)
			if len(state.peaks) != before {
				t.Fatalf("seed %d: the state that was handed in has changed", seed)
			}
			if again, _ := Decide(now, p, status, sample, state); again.Want != d.Want || again.Reason != d.Reason || again.Text != d.Text {
				t.Fatalf("seed %d: two answers to one question: %+v, %+v", seed, d, again)
			}
			state = next
			fail := func(law string) {
				t.Helper()
				t.Fatalf("seed %d: %s\npolicy %+v\nstatus %+v\nsample %+v\ndecision %+v", seed, law, p, status, sample, d)
			}
			switch {
			case d.Text == "" || d.Reason == "":
				fail("a decision without a reason")
			case d.Action == Hold && d.Want != status.Desired:
				fail("a hold that changes the count")
			case d.Action == Hold:
			case d.Want == status.Desired:
				fail("a step to the same count")
			case d.Want < p.Min && d.Action != Up, d.Want > p.Max && d.Action != Down:
				fail("out of bounds, and further away")
			case status.Desired >= p.Min && status.Desired <= p.Max && (d.Want < p.Min || d.Want > p.Max):
				fail("out of bounds")
			case (d.Want > status.Desired) != (d.Action == Up):
				fail("the action has the wrong name")
			case !status.Known || status.Blocked != "":
				fail("a step against the target's state")
			case !usable(now, p, sample) && (d.Reason != BelowMin || d.Want != p.Min):
				fail("a step on bad data")
			case sample.Partial && d.Action == Down:
				fail("shrunk on incomplete data")
			case d.Action == Up && d.Reason != BelowMin && !lastUp.IsZero() && now.Sub(lastUp) < p.CooldownUp:
				fail("up within cooldown_up")
			case d.Action == Down && d.Reason != AboveMax && !lastStep.IsZero() && now.Sub(lastStep) < p.CooldownDown:
				fail("down within cooldown_down")
			case p.StepUp > 0 && d.Want-status.Desired > p.StepUp && d.Want != p.Min:
				fail("a step up that is too large")
			case p.StepDown > 0 && status.Desired-d.Want > p.StepDown && d.Want != p.Max:
				fail("a step down that is too large")
			}
			if d.Action != Hold && w.IntN(4) > 0 { // the target refuses some
				state, lastStep = state.Acted(now, d), now
				if d.Action == Up {
					lastUp = now
				}
				count = d.Want
			} else if w.IntN(50) == 0 { // somebody else sets the count
				count = w.IntN(25)
			}
		}
	}
}

// With everything else the same, a higher load never asks for less.
func TestMonotone(t *testing.T) {
	for seed := range uint64(500) {
		w := world{rand.New(rand.NewPCG(seed, 2))}
		p := w.policy()
		state, now := State{}, epoch
		for range w.IntN(60) {
			now = now.Add(2 * time.Second)
			_, state = Decide(now, p, w.status(3), w.sample(now, p), state)
		}
		now = now.Add(2 * time.Second)
		status := Status{Known: true, Desired: w.IntN(25)}
		last := math.MinInt
		for v := 0.0; v < 25*p.TargetValue; v += p.TargetValue / 7 {
			d, _ := Decide(now, p, status, at(now, v), state)
			if d.Want < last {
				t.Fatalf("seed %d: %d for %v, %d for less\npolicy %+v, count %d", seed, d.Want, v, last, p, status.Desired)
			}
			last = d.Want
		}
	}
}

// A load that hovers around a boundary moves the count once, not back and forth.
func TestNoFlapping(t *testing.T) {
	p := fleet()
	p.CooldownUp, p.CooldownDown, p.DownWindow, p.Max = 0, 0, 0, 100
	for _, boundary := range []int{1, 2, 5, 20, 50} {
		w := world{rand.New(rand.NewPCG(7, uint64(boundary)))}
		count, steps, state := boundary, 0, State{}
		for i := range 1000 {
			now := epoch.Add(time.Duration(i) * time.Second)
			load := p.TargetValue * float64(boundary) * (1 + 0.08*(2*w.Float64()-1))
			d, next := Decide(now, p, running(count), at(now, load), state)
			if state = next; d.Action != Hold {
				steps++
				count, state = d.Want, state.Acted(now, d)
			}
		}
		if steps > 1 {
			t.Errorf("%d steps around %d instances", steps, boundary)
		}
	}
}
