package relay

import (
	"sync"
	"time"

	"argosy/agent/outcome"
)

// limitTimer ends a pair whose time is up. It is set for the next moment at which that may be, and not touched by the
// bytes that move.
type limitTimer struct {
	j       *joined
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	taken   uint64 // by both peers, when the timer last looked
}

// newLimitTimer returns nil for a pair without limits.
func newLimitTimer(j *joined) *limitTimer {
	p := &j.pair
	if p.Idle <= 0 && p.HalfClose <= 0 && p.Lifetime <= 0 && p.FirstByte <= 0 {
		return nil
	}
	t := &limitTimer{j: j}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(0, t.look)
	return t
}

// look ends the pair, or sets the timer to when it next may have to.
func (t *limitTimer) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	d, ok := t.j.due()
	if !ok {
		return // until one side ends
	}
	if wait := d.at - t.j.elapsed(); wait > 0 {
		t.timer.Reset(wait)
		return
	}
	// Bytes in hand are counted when the receiver has taken them all. A slow receiver that takes some is not idle.
	if d.quiet && t.j.busy.Load() > 0 {
		if now := taken(t.j.pair.Client) + taken(t.j.pair.Server); now != t.taken {
			t.taken = now
			t.j.active.Store(int64(t.j.elapsed()))
			t.timer.Reset(time.Nanosecond)
			return
		}
	}
	t.j.Cut(d.outcome)
}

// stop returns when the timer will not fire any more and is not firing.
func (t *limitTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.timer.Stop()
}

// limit is the first of a pair's limits.
type limit struct {
	at      time.Duration // since the pair was joined
	outcome outcome.Outcome
	quiet   bool // only if nothing moves until then
}

// due is when the pair has to end, as far as can be known now. ok is false for never.
func (j *joined) due() (first limit, ok bool) {
	sooner := func(limited, since time.Duration, o outcome.Outcome, quiet bool) {
		if at := since + limited; limited > 0 && (!ok || at < first.at) {
			first, ok = limit{at, o, quiet}, true
		}
	}
	p, active := &j.pair, time.Duration(j.active.Load())
	sooner(p.Lifetime, 0, outcome.Lifetime, false)
	if !j.heard.Load() {
		sooner(p.FirstByte, 0, outcome.Idle, false)
	}
	if half := time.Duration(j.half.Load()); half > 0 {
		sooner(p.HalfClose, max(half, active), outcome.HalfClose, true)
	}
	sooner(p.Idle, active, outcome.Idle, true)
	return first, ok
}
