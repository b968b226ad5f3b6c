package relay

import (
	"time"

	"argosy/agent/outcome"
)

// timer is an entry of a worker's heap: one for every pair that has anything to time. An entry is not moved when bytes
// move: it is looked at again when it is due.
type timer struct {
	at   int64
	pair *pair
}

// limits are a pair's timeouts, in nanoseconds, and what they need to know.
type limits struct {
	idle, halfClose, lifetime, firstByte int64
	acknowledged                         uint64 // by both peers, at the last look
}

// arm sets the time at which p is looked at. Times are rounded up, so that few wake-ups serve many.
func (w *worker) arm(p *pair, at int64) {
	grain := int64(1 << 23) // 8 ms
	if at-w.now > int64(10*time.Second) {
		grain <<= 4
	}
	at = (at + grain - 1) &^ (grain - 1)
	if p.timer == 0 {
		w.timers = append(w.timers, timer{})
		p.timer = int32(len(w.timers))
	}
	i := int(p.timer) - 1
	w.timers[i] = timer{at, p}
	w.up(w.down(i))
}

func (w *worker) disarm(p *pair) {
	if p.timer == 0 {
		return
	}
	i, last := int(p.timer)-1, len(w.timers)-1
	p.timer = 0
	moved := w.timers[last]
	w.timers[last] = timer{}
	w.timers = w.timers[:last]
	if i < last {
		w.timers[i] = moved
		moved.pair.timer = int32(i + 1)
		w.up(w.down(i))
	}
}

func (w *worker) up(i int) {
	for i > 0 {
		above := (i - 1) / 2
		if w.timers[above].at <= w.timers[i].at {
			return
		}
		w.swap(i, above)
		i = above
	}
}

func (w *worker) down(i int) int {
	for {
		below := 2*i + 1
		if below >= len(w.timers) {
			return i
		}
		if r := below + 1; r < len(w.timers) && w.timers[r].at < w.timers[below].at {
			below = r
		}
		if w.timers[i].at <= w.timers[below].at {
			return i
		}
		w.swap(i, below)
		i = below
	}
}

func (w *worker) swap(i, j int) {
	t := w.timers
	t[i], t[j] = t[j], t[i]
	t[i].pair.timer, t[j].pair.timer = int32(i+1), int32(j+1)
}

// expire looks at the pairs whose time has come.
func (w *worker) expire() {
	if w.paused > 0 {
		w.resume()
	}
	for len(w.timers) > 0 && w.timers[0].at <= w.now {
		p := w.timers[0].pair
		switch at, o := p.due(); {
		case at == 0:
			w.disarm(p)
		case at > w.now:
			w.arm(p, at)
		case p.dialling != nil:
			w.disarm(p)
			p.dialling.fail(errDialTimeout)
		case p.proceeds(o):
			w.arm(p, w.now+int64(time.Millisecond))
		default:
			w.disarm(p)
			p.end(o)
		}
	}
}

// due is when p ends unless something moves, and how; 0 is never.
func (p *pair) due() (at int64, o outcome.Outcome) {
	if p.dialling != nil {
		return p.dialling.deadline, outcome.Dial
	}
	l := p.limits
	if l == nil {
		return 0, ""
	}
	sooner := func(t int64, why outcome.Outcome) {
		if at == 0 || t < at {
			at, o = t, why
		}
	}
	active := p.active.Load()
	if l.idle > 0 {
		sooner(active+l.idle, outcome.Idle)
	}
	if l.halfClose > 0 && (p.ends[0].eof || p.ends[1].eof) {
		sooner(active+l.halfClose, outcome.HalfClose)
	}
	if l.lifetime > 0 {
		sooner(p.began+l.lifetime, outcome.Lifetime)
	}
	if l.firstByte > 0 && !p.spoken {
		sooner(p.began+l.firstByte, outcome.Idle)
	}
	return at, o
}

// proceeds reports whether a pair that is due by o is not to end: a peer that takes bytes slowly is not idle.
func (p *pair) proceeds(o outcome.Outcome) bool {
	if o != outcome.Idle && o != outcome.HalfClose || p.limits.firstByte > 0 && !p.spoken {
		return false
	}
	c, s := p.ends[0].fd, p.ends[1].fd
	if p.ends[0].out == nil && p.ends[1].out == nil && unsent(c) == 0 && unsent(s) == 0 {
		return false
	}
	taken := acknowledged(c) + acknowledged(s)
	if taken == p.limits.acknowledged {
		return false
	}
	p.limits.acknowledged = taken
	p.active.Store(p.worker.now)
	return true
}

// retime is called when a pair may be due sooner than it was.
func (p *pair) retime() {
	if at, _ := p.due(); at > 0 && (p.timer == 0 || at < p.worker.timers[p.timer-1].at) {
		p.worker.arm(p, at)
	}
}
