package nomad

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"

	"argosy/dtab"
	"argosy/namer"
)

var errNoLeader = errors.New("nomad has no leader")

// follower turns the answers about one service into what is published. It is used by one goroutine.
type follower struct {
	target  target
	id      dtab.Path
	publish func(namer.Answer)
	hold    time.Duration
	logger  hclog.Logger
	metrics *followed

	good    []namer.Endpoint // the last good set; nil: none, the answer was Neg
	told    bool             // something was published
	failing bool             // the last request failed
	doubted bool             // Nomad is back after trouble, and has not named an instance since
}

// follow publishes until ctx ends.
func (w *follower) follow(ctx context.Context, answers <-chan answer) {
	hold := time.NewTimer(0)
	hold.Stop()
	defer hold.Stop()
	held := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-hold.C:
			w.logger.Warn("nomad has known no instance for too long: the last good ones are given up", "after", w.hold)
			held, w.doubted = false, false
			w.nothing()
		case a := <-answers:
			holding := w.take(a)
			switch {
			case !holding: // in trouble, too: then it is not known whether there is any, and the time does not run
				hold.Stop()
			case !held:
				hold.Reset(w.hold)
			}
			held = holding
		}
	}
}

// take publishes what follows from one answer, and reports whether the last good set is held against it.
func (w *follower) take(a answer) (holding bool) {
	if a.err != nil {
		w.trouble(a.err)
		return false
	}
	w.metrics.answered(len(a.entries) > 0)
	if w.failing {
		w.failing, w.doubted = false, true
		w.logger.Info("nomad answers again")
	}
	endpoints := endpoints(a.entries)
	switch {
	case len(endpoints) > 0:
		w.doubted = false
		w.good = endpoints
		w.say(w.bound(false))
	case w.good != nil && w.doubted && w.hold > 0:
		w.say(w.bound(true))
		return true
	default: // in quiet times a service without instances was stopped, and its alternatives are wanted at once
		w.nothing()
	}
	return false
}

// trouble keeps the last good set, or says that there is nothing, so that alternatives apply.
func (w *follower) trouble(err error) {
	w.metrics.failed()
	if w.failing {
		w.logger.Debug("nomad still cannot be asked", "error", err)
	} else {
		w.failing = true
		w.logger.Warn("nomad cannot be asked: what is known stays in use", "known", len(w.good), "error", err)
	}
	switch {
	case w.good != nil:
		w.say(w.bound(true))
	case !w.told:
		w.say(namer.Answer{Status: namer.OK, Err: err})
	}
}

func (w *follower) nothing() {
	w.good = nil
	w.say(namer.NoAnswer())
}

func (w *follower) say(a namer.Answer) {
	w.told = true
	w.publish(a)
}

func (w *follower) bound(stale bool) namer.Answer {
	return namer.BoundAnswer(w.id, namer.Addr{Status: namer.OK, Endpoints: w.good, Stale: stale})
}

// endpoints are the instances that can be connected to, in the order that readers want, each address once.
func endpoints(entries []*api.ServiceRegistration) []namer.Endpoint {
	var all []namer.Endpoint
	for _, e := range entries {
		if e.Address == "" || e.Port <= 0 {
			continue
		}
		all = append(all, namer.Endpoint{
			Addr: net.JoinHostPort(e.Address, strconv.Itoa(e.Port)), Weight: 1,
			Meta: map[string]string{"id": e.ID, "node": e.NodeID, "dc": e.Datacenter, "job": e.JobID, "alloc": e.AllocID},
		})
	}
	return namer.SortEndpoints(all)
}

// explain turns an error of the client into a short one that says what is to be done.
func explain(err error, t target) error {
	var unexpected api.UnexpectedResponseError
	if !errors.As(err, &unexpected) || !unexpected.HasStatusCode() {
		return err
	}
	if unexpected.StatusCode() == http.StatusForbidden {
		return fmt.Errorf("permission denied: the token needs read-job in the namespace %q", t.namespace)
	}
	const longest = 300
	body := strings.TrimSpace(unexpected.Body())
	return fmt.Errorf("nomad answered %d: %s", unexpected.StatusCode(), body[:min(len(body), longest)])
}
