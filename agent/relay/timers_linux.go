package relay

import (
	"container/heap"
	"time"

	"argosy/agent/outcome"
)

// timers are the flows that have a time to look at them, the next one first. What moves does not touch them: a timer that
// fires looks when something has moved last, and is set again.
type timers []*Flow

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].heap, t[j].heap = int32(i+1), int32(j+1)
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	f := x.(*Flow)
	*t = append(*t, f)
	f.heap = int32(len(*t))
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	n := len(*t) - 1
	f := (*t)[n]
	(*t)[n] = nil
	*t = (*t)[:n]
	f.heap = 0
	return f
}

// arm sets the flow's timer; 0 is none.
func (w *worker) arm(f *Flow, due int64) {
	if due == 0 {
		w.disarm(f)
		return
	}
	f.due = due
	if f.heap != 0 {
		heap.Fix(&w.timers, int(f.heap-1))
	} else {
		heap.Push(&w.timers, f)
	}
}

func (w *worker) disarm(f *Flow) {
	if f.heap != 0 {
		heap.Remove(&w.timers, int(f.heap-1))
	}
}

// expire fires the timers that are due, and does what is to be done now and then.
func (w *worker) expire() {
	for len(w.timers) > 0 && w.timers[0].due <= w.now {
		f := w.timers[0]
		w.disarm(f)
		if f.state == dialing {
			w.dialTimeout(f)
		} else {
			w.lookAt(f)
		}
	}
	for _, s := range w.served {
		if s != nil && s.paused > 0 && s.paused <= w.now {
			w.resume(s)
		}
	}
	if len(w.piped) > 0 && w.swept+int64(pipeQuiet) <= w.now {
		w.sweep()
	}
}

// lookAt ends a flow whose time is up, or sets its timer to when it next may be.
func (w *worker) lookAt(f *Flow) {
	l := f.limits
	if l == nil || f.state != moving {
		return
	}
	next := int64(0)
	until := func(limit time.Duration, since int64) bool {
		if limit <= 0 {
			return false
		}
		due := since + int64(limit)
		if due <= w.now {
			return true
		}
		if next == 0 || due < next {
			next = due
		}
		return false
	}
	active := f.active.Load()
	if (until(l.idle, active) || l.halfClose > 0 && f.half() && until(l.halfClose, active)) && w.taking(f) {
		active = w.now // what is not counted yet is being taken all the same
		f.active.Store(active)
		next = 0
	}
	switch {
	case until(l.lifetime, f.began):
		f.decide(outcome.Lifetime, nil)
	case f.half() && until(l.halfClose, active):
		f.decide(outcome.HalfClose, nil)
	case until(l.idle, active):
		f.decide(outcome.Idle, nil)
	case !f.heard && until(l.firstByte, f.began):
		f.decide(outcome.Idle, nil)
	default:
		w.arm(f, next)
		return
	}
	f.finish()
}

// half reports whether a side has ended. If both have, there is still something to be taken.
func (f *Flow) half() bool { return f.ends[0].inEnded || f.ends[1].inEnded }

// taking reports whether a peer that has not taken all its bytes has taken some since it was last asked. A slow one is not
// idle.
func (w *worker) taking(f *Flow) bool {
	some := false
	for i := range f.ends {
		e, from := &f.ends[i], &f.ends[1-i]
		var before *uint64
		switch {
		case e.left != nil:
			before = &e.left.taken
		case from.pipe != nil && from.pipe.held > 0:
			before = &from.pipe.taken
		default:
			continue
		}
		now := ackedBy(e.fd)
		some = some || now != *before
		*before = now
	}
	return some
}
