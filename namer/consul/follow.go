package consul

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/namer"
)

// errFiltered is what an empty list means when Consul says that it has left something out.
var errFiltered = errors.New("the ACL token may not read the nodes or the service: it needs node and service read")

// follower turns the answers about one service into what is published. It is used by one goroutine.
type follower struct {
	namer   *Namer
	target  target
	id      dtab.Path
	publish func(namer.Answer)
	logger  hclog.Logger
	metrics *followed

	good    []namer.Endpoint // the last good set; nil: none, the answer was Neg
	holding bool             // none passes now, good is held
	told    bool             // something was published
	failing bool             // the last request failed
	doubted bool             // consul is back after trouble, and has not named an instance that may be used since
}

// follow publishes until ctx ends.
func (w *follower) follow(ctx context.Context, answers <-chan answer) {
	hold := time.NewTimer(0)
	hold.Stop()
	defer hold.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hold.C:
			w.logger.Warn("no instance has passed its checks for too long: the last good ones are given up",
				"after", w.namer.options.HoldEmpty)
			w.holding, w.doubted = false, false
			w.nothing()
		case a := <-answers:
			held := w.holding
			w.take(a)
			switch {
			case a.err != nil:
				hold.Stop() // whether any passes is not known now: the time does not run
				w.holding = false
			case w.holding && !held:
				hold.Reset(w.namer.options.HoldEmpty)
			case !w.holding:
				hold.Stop()
			}
		}
	}
}

// take publishes what follows from one answer.
func (w *follower) take(a answer) {
	if a.err != nil {
		w.trouble(a.err)
		return
	}
	w.metrics.answered(len(a.entries) > 0)
	if w.failing {
		w.failing, w.doubted = false, true
		w.logger.Info("consul answers again")
	}
	endpoints := w.namer.endpoints(w.target, a.entries, w.logger)
	// A Consul that has lost its data knows no service until all of them have registered again. In quiet times a service
	// without instances was stopped, and its alternatives are wanted at once.
	gone := len(a.entries) == 0 && !w.doubted
	switch {
	case len(endpoints) > 0:
		w.holding, w.doubted = false, false
		w.good = endpoints
		w.say(w.bound(endpoints, false))
	case gone || w.good == nil || w.namer.options.HoldEmpty <= 0:
		w.holding = false
		w.nothing()
	case !w.holding:
		w.holding = true
		w.logger.Warn("no instance passes its checks: keeping the last good ones for a while",
			"instances", len(a.entries), "kept", len(w.good), "for", w.namer.options.HoldEmpty)
		w.say(w.bound(w.good, true))
	}
}

// trouble keeps the last good set, or says that there is nothing, so that alternatives apply.
func (w *follower) trouble(err error) {
	w.metrics.failed()
	if w.failing {
		w.logger.Debug("consul still cannot be asked", "error", err)
	} else {
		w.failing = true
		w.logger.Warn("consul cannot be asked: what is known stays in use", "known", len(w.good), "error", err)
	}
	switch {
	case w.good != nil:
		w.say(w.bound(w.good, true))
	case !w.told:
		w.nothing()
	}
}

func (w *follower) nothing() {
	w.good = nil
	w.say(namer.Answer{Status: namer.OK, Tree: dtab.Tree[namer.Leaf]{Kind: dtab.Neg}})
}

func (w *follower) say(a namer.Answer) {
	w.told = true
	w.publish(a)
}

func (w *follower) bound(endpoints []namer.Endpoint, stale bool) namer.Answer {
	return namer.Answer{Status: namer.OK, Tree: dtab.LeafOf(namer.Leaf{Bound: &namer.Bound{
		ID:   w.id,
		Addr: namer.Addr{Status: namer.OK, Endpoints: endpoints, Stale: stale},
	}})}
}
