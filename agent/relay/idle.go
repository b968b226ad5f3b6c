package relay

import (
	"sync"
	"time"

	"argosy/agent/outcome"
)

// idleTimer ends a pair on which nothing moves. It is armed once per idle time and not touched by the moving bytes.
type idleTimer struct {
	j       *joined
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	taken   uint64 // by both peers, when the timer last looked
}

func newIdleTimer(j *joined) *idleTimer {
	t := &idleTimer{j: j}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(j.pair.Idle, t.fire)
	return t
}

func (t *idleTimer) fire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	j := t.j
	idle := j.pair.Idle
	if quiet := time.Since(j.began) - time.Duration(j.active.Load()); quiet < idle {
		t.timer.Reset(idle - quiet)
		return
	}
	// Bytes in hand are counted when the receiver has taken them all. A slow receiver that takes some is not idle.
	if j.busy.Load() > 0 {
		if now := taken(j.pair.Client) + taken(j.pair.Server); now != t.taken {
			t.taken = now
			t.timer.Reset(idle)
			return
		}
	}
	j.Cut(outcome.Idle)
}

// stop returns when the timer will not fire any more and is not firing.
func (t *idleTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.timer.Stop()
}
