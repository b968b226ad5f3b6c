package consul

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/snapshot"
	"argosy/namer"
)

// patience is how long the first answer is awaited before a snapshot is used instead.
const patience = 500 * time.Millisecond

// follower turns the answers to one request into a live set of endpoints. Its methods may be called from any goroutine.
type follower struct {
	namer   *Namer
	request request
	set     func(namer.Addr) (changed bool)
	logger  hclog.Logger
	metrics *followed
	saved   *snapshot.File // nil: no snapshot

	mu    sync.Mutex
	over  bool
	timer *time.Timer // of the next thing that happens though nothing is heard

	fresh []instance      // what the last good answer named
	kept  map[string]kept // by address: what it did not name any more, and still is used
	aged  bool            // the Consul agent answers without its servers

	heard   bool      // there was an answer, or an error
	failing time.Time // since when requests fail; zero: they do not
	reason  error     // the first of these failures
	doubted bool      // consul is back after trouble, and has not named an instance that may be used since
	newest  uint64    // the index of the last change of an instance
	patient time.Time // when a snapshot is used if there was no answer; zero: not at all
}

// kept is an instance that Consul does not name any more.
type kept struct {
	instance
	hold  time.Duration
	until time.Time // zero while Consul is in trouble: then it is not known whether it would be named
}

// start begins the time in which a first answer is expected.
func (w *follower) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = make(map[string]kept)
	if w.saved != nil {
		w.patient = time.Now().Add(patience)
	}
	w.arm()
}

// stop ends everything: nothing is set after it has returned.
func (w *follower) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.saved.Finish()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// take makes of an answer what follows from it, and reports whether the set is another one now.
func (w *follower) take(a answer) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	if a.err != nil {
		w.trouble(a.err)
	} else {
		w.answer(a)
	}
	w.heard, w.patient = true, time.Time{}
	changed = w.publish()
	w.saved.Flush() // nobody waits for a disk
	w.arm()
	return changed
}

func (w *follower) answer(a answer) {
	if !w.failing.IsZero() {
		w.failing, w.reason, w.doubted = time.Time{}, nil, true
		w.logger.Log(w.namer.level(hclog.Info), "consul answers again")
	}
	if len(a.entries) > 0 {
		w.newest = changedAt(a.entries)
	} else if a.index < w.newest { // of a service that is gone it tells when the last instance went
		w.newest, w.doubted = 0, true
		w.logger.Log(w.namer.level(hclog.Warn), "consul has lost its data, or was restored from an older time")
	}
	w.aged = a.cached
	now := w.namer.instances(w.request, a.entries, w.logger)
	if !w.heard && len(now) == 0 && len(a.entries) > 0 {
		w.recall("no instance passes its checks") // for as long as if they had failed while we were looking
	}
	before, held := w.fresh, len(w.fresh) == 0 && len(w.kept) > 0
	w.fresh = now
	w.metrics.answered(a)
	for _, e := range w.fresh {
		delete(w.kept, e.Addr)
	}
	lost := slices.DeleteFunc(slices.Clone(before), func(e instance) bool { return contains(w.fresh, e.Addr) })
	o := w.namer.options
	switch {
	case len(w.fresh) > 0 && (held || w.doubted):
		// The first that passes again is not to be the whole set all of a sudden.
		w.doubted = false
		for _, k := range w.kept {
			lost = append(lost, k.instance)
		}
		clear(w.kept)
		w.keep(lost, o.GuardHold)
	case o.massLoss(len(before), len(w.fresh), len(lost)) && (len(w.fresh) > 0 || len(a.entries) == 0 && !w.doubted):
		w.logger.Warn("many instances are gone all at once: keeping them for a while",
			"gone", len(lost), "left", len(w.fresh), "for", o.GuardHold)
		w.keep(lost, o.GuardHold)
	case len(w.fresh) > 0:
	// A Consul that has lost its data knows no service until all of them have registered again. In quiet times a service
	// without instances was stopped, and its alternatives are wanted at once.
	case o.HoldEmpty > 0 && (len(a.entries) > 0 || w.doubted):
		if len(lost) > 0 {
			w.logger.Warn("no instance passes its checks: keeping the last good ones for a while",
				"instances", len(a.entries), "kept", len(lost), "for", o.HoldEmpty)
		}
		w.keep(lost, o.HoldEmpty)
	default:
		clear(w.kept)
	}
	for addr, k := range w.kept {
		if k.until.IsZero() {
			k.until = time.Now().Add(k.hold)
			w.kept[addr] = k
		}
	}
	if len(w.fresh)+len(w.kept) == 0 {
		w.doubted = false
		w.saved.Drop()
	} else if len(w.fresh) > 0 {
		w.saved.Keep(record(w.fresh))
	}
}

// keep holds on to instances that were lost.
func (w *follower) keep(lost []instance, hold time.Duration) {
	if hold <= 0 {
		return
	}
	for _, e := range lost {
		e.rank = 1 << 20 // behind all that Consul names
		w.kept[e.Addr] = kept{instance: e, hold: hold}
	}
}

// massLoss reports whether instances went away in a manner that speaks of trouble at Consul. A deployment that puts
// others in their place does not.
func (o Options) massLoss(before, after, lost int) bool {
	return o.GuardHold > 0 && lost >= 2 && float64(before-after) > o.GuardShare*float64(before)
}

// trouble keeps the last good set, or says that there is nothing, so that alternatives apply.
func (w *follower) trouble(err error) {
	w.metrics.failed()
	if !w.failing.IsZero() {
		w.logger.Debug("consul still cannot be asked", "error", err)
		return
	}
	w.failing, w.reason = time.Now(), err
	for addr, k := range w.kept { // whether they would be named is not known now: the time does not run
		k.until = time.Time{}
		w.kept[addr] = k
	}
	if !w.heard {
		w.recall("consul cannot be asked")
	}
	message := "consul cannot be asked: what is known stays in use"
	if !w.heard && len(w.fresh)+len(w.kept) == 0 {
		message = "consul cannot be asked, and nothing is known yet: the name is nothing before it answers"
	}
	w.logger.Log(w.namer.level(hclog.Warn), message, "known", len(w.fresh)+len(w.kept), "error", err)
}

// recall takes up what was known before a restart.
func (w *follower) recall(why string) {
	var was []recorded
	at, ok := w.saved.Load(&was)
	if !ok {
		return
	}
	w.fresh, w.doubted = instancesOf(was), true
	w.metrics.recalled(at)
	w.logger.Log(w.namer.level(hclog.Warn), "using the snapshot: "+why, "instances", len(w.fresh), "age", time.Since(at).Round(time.Second))
}

// tick does what is due.
func (w *follower) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	now := time.Now()
	if !w.patient.IsZero() && !now.Before(w.patient) {
		w.patient = time.Time{}
		if w.recall("consul has not answered yet"); len(w.fresh) == 0 {
			return // nothing is known still
		}
		w.heard = true
	}
	if over := w.givenUp(); !over.IsZero() && !now.Before(over) {
		w.logger.Warn("consul could not be asked for too long: the last good set is given up", "after", w.namer.options.MaxStale)
		w.fresh = nil
		clear(w.kept)
	}
	gone := 0
	maps.DeleteFunc(w.kept, func(_ string, k kept) bool {
		over := !k.until.IsZero() && !now.Before(k.until)
		if over {
			gone++
		}
		return over
	})
	if gone > 0 {
		w.logger.Warn("instances have been missing for too long and are given up", "gone", gone, "left", len(w.fresh)+len(w.kept))
	}
	if len(w.fresh)+len(w.kept) == 0 && w.failing.IsZero() {
		w.doubted = false
	}
	w.publish()
	w.saved.Flush()
	w.arm()
}

// givenUp is when the set is too stale; zero: never.
func (w *follower) givenUp() time.Time {
	if w.failing.IsZero() || w.namer.options.MaxStale <= 0 || len(w.fresh)+len(w.kept) == 0 {
		return time.Time{}
	}
	return w.failing.Add(w.namer.options.MaxStale)
}

// arm sets the timer to what is due next.
func (w *follower) arm() {
	next := w.givenUp()
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(w.patient)
	sooner(w.saved.Due())
	for _, k := range w.kept {
		sooner(k.until)
	}
	switch {
	case next.IsZero() && w.timer != nil:
		w.timer.Stop()
	case next.IsZero():
	case w.timer == nil:
		w.timer = time.AfterFunc(time.Until(next), w.tick)
	default:
		w.timer.Reset(time.Until(next))
	}
}

// publish says what is known now.
func (w *follower) publish() (changed bool) {
	all := w.fresh
	if len(w.kept) > 0 {
		all = slices.Clone(all)
		for _, k := range w.kept {
			e := k.instance
			e.Meta = maps.Clone(e.Meta)
			e.Meta["stale"] = "true"
			all = append(all, e)
		}
		all = sorted(all)
	}
	addr := namer.Addr{Status: namer.Neg, Err: w.reason}
	if len(all) > 0 {
		near := 0
		if w.namer.options.Near != "" {
			near = w.namer.options.NearCount
		}
		addr = namer.Addr{
			Status:    namer.OK,
			Endpoints: nearest(all, near),
			Stale:     !w.failing.IsZero() || w.doubted || w.aged || len(w.kept) > 0,
		}
	}
	changed = w.set(addr)
	w.metrics.uses(len(addr.Endpoints), changed)
	return changed
}

// changedAt is the index of the last change of one of the instances.
func changedAt(entries []*api.ServiceEntry) (index uint64) {
	for _, e := range entries {
		if e != nil && e.Service != nil {
			index = max(index, e.Service.ModifyIndex)
		}
	}
	return index
}

func contains(all []instance, addr string) bool {
	return slices.ContainsFunc(all, func(e instance) bool { return e.Addr == addr })
}
