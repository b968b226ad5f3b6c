package consul

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/backoff"
	"argosy/internal/blockq"
)

// pausePerCheck is how long the caller leaves Consul alone after each answer: reading them all costs some ten
// microseconds for each check, on either side.
const pausePerCheck = 200 * time.Microsecond

// caller wakes the members of a datacenter that have no seat when a check of theirs changes.
type caller struct {
	seats      *Seats
	datacenter string
	cancel     context.CancelFunc
	done       chan struct{}

	known map[checkID]checkState // nil before the first answer
}

type checkID struct{ node, check string }

type checkState struct {
	index   uint64
	service string
}

// check is what is read of Consul's checks.
type check struct {
	Node, CheckID, ServiceName string
	ModifyIndex                uint64
}

// callersNeeded starts the callers that are needed, and returns those that are not any more, to be stopped without mu.
// The caller holds mu.
func (s *Seats) callersNeeded() (idle []*caller) {
	needed := make(map[string]bool)
	if len(s.members) > s.taken && len(s.members) > s.limit() {
		for m := range s.members {
			if m.exists && !m.seated { // only datacenters that are there
				needed[m.datacenter] = true
			}
		}
	}
	for datacenter, c := range s.callers {
		if !needed[datacenter] && len(s.members) <= s.limit() {
			delete(s.callers, datacenter)
			idle = append(idle, c)
		}
	}
	for datacenter := range needed {
		if s.callers[datacenter] == nil {
			ctx, cancel := context.WithCancel(context.Background())
			c := &caller{seats: s, datacenter: datacenter, cancel: cancel, done: make(chan struct{})}
			s.callers[datacenter] = c
			go c.run(ctx)
		}
	}
	return idle
}

func (c *caller) stop() {
	c.cancel()
	<-c.done
}

func (c *caller) run(ctx context.Context) {
	defer close(c.done)
	blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) ([]check, *api.QueryMeta, error) {
		q.Datacenter, q.AllowStale = c.datacenter, true
		var checks []check
		meta, err := c.seats.client.Raw().Query("/v1/health/state/any", &checks, q)
		return checks, meta, err
	}, func(checks []check, _ *api.QueryMeta, err error) {
		if err != nil {
			c.known = nil // what is missed meanwhile is not known
			return
		}
		c.compare(checks)
		_ = backoff.Sleep(ctx, time.Duration(len(checks))*pausePerCheck)
	})
}

// compare wakes those whose checks are not what they were.
func (c *caller) compare(checks []check) {
	now := make(map[checkID]checkState, len(checks))
	services, nodes := make(map[string]bool), make(map[string]bool)
	changed := func(id checkID, service string) {
		if service == "" {
			nodes[id.node] = true
		} else {
			services[strings.ToLower(service)] = true
		}
	}
	for _, k := range checks {
		id, state := checkID{k.Node, k.CheckID}, checkState{k.ModifyIndex, k.ServiceName}
		now[id] = state
		if c.known[id] != state {
			changed(id, state.service)
		}
	}
	for id, state := range c.known {
		if _, ok := now[id]; !ok {
			changed(id, state.service)
		}
	}
	first := c.known == nil
	c.known = now
	c.seats.wake(c.datacenter, func(m *member) bool {
		return first || services[m.service] || services[m.service+"-sidecar-proxy"] || m.on(nodes)
	})
}

// on reports whether an instance of m is on one of the nodes.
func (m *member) on(nodes map[string]bool) bool {
	if len(nodes) == 0 {
		return false
	}
	for n := range m.nodes {
		if nodes[n] {
			return true
		}
	}
	return false
}

// wake tells all members of a datacenter that match.
func (s *Seats) wake(datacenter string, match func(*member) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeAll(datacenter, match)
}

// wakeAll is wake for the caller that holds mu.
func (s *Seats) wakeAll(datacenter string, match func(*member) bool) {
	for m := range s.members {
		if m.datacenter == datacenter && match(m) {
			select {
			case m.woken <- struct{}{}:
			default:
			}
		}
	}
}
