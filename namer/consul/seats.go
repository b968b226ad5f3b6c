package consul

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/blockq"
)

// Consul answers at most 200 connections of one address (http_max_conns_per_client), and a blocking query over HTTP/1.1
// has a connection of its own. While one configuration gives way to the next, there are the seats of both.
const (
	DefaultSeats = 80
	plainLocal   = 8 // requests at once that do not wait, to the Consul agent's own datacenter
	plainRemote  = 6 // and to each other one, so that one that hangs does not hold up the rest

	shortWait   = time.Minute
	longWait    = 5 * time.Minute
	waitPerLoop = 50 * time.Millisecond // so that very many blocking queries do not make many requests at rest

	hotFor     = 15 * time.Minute // what changed is preferred for so long
	sweep      = 5 * time.Minute  // what waits without a seat is asked for at least so often
	blindSweep = 30 * time.Second // and so often where nothing would tell of a change
	blindRate  = 50               // requests per second of those, at most
)

// Seats bound the requests that wait at Consul for a change, for all namers that ask it. While there are more watches
// than seats, those have them that changed last, and the rest take turns. Who has no seat is woken by one more blocking
// query, on the checks of the whole catalog, and asks once when a check of its service has changed; and every now and
// then without having been woken, for changes that no check tells of. Its methods may be called from any goroutine.
type Seats struct {
	client *api.Client
	limit  func() int
	short  time.Duration // how long Consul may hold a request back, while there are not very many

	requests atomic.Int64 // so far

	mu      sync.Mutex
	sites   map[string]*site // by datacenter
	members map[*member]struct{}
	taken   int
	blind   int                // members that nothing would wake
	callers map[string]*caller // by datacenter
}

// site is a datacenter that members ask.
type site struct {
	plain    chan struct{} // a token for each plain request under way
	members  int
	failures int // since the last request that went well
}

// Where so many requests in a row fail, those without a seat try in turns, and so many of them in a second. The first
// that goes well wakes the others.
const (
	manyFailures = 20
	trialRate    = 16
)

// rest is how long a member without a seat leaves its datacenter alone.
func (m *member) rest() time.Duration {
	s := m.seats
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.seated || m.site.failures < manyFailures {
		return 0
	}
	return time.Duration(rand.Int64N(int64(m.site.members)*int64(time.Second)/trialRate + 1))
}

// failed notes that a request of m failed.
func (m *member) failed() {
	m.seats.mu.Lock()
	defer m.seats.mu.Unlock()
	m.site.failures++
}

// NewSeats makes seats at the Consul of client. limit says how many there are, now and later; nil: DefaultSeats.
func NewSeats(client *api.Client, limit func() int) *Seats {
	if limit == nil {
		limit = func() int { return DefaultSeats }
	}
	return &Seats{
		client: client, limit: limit, short: shortWait,
		sites: make(map[string]*site), members: make(map[*member]struct{}), callers: make(map[string]*caller),
	}
}

// Client is the client that the seats were made with.
func (s *Seats) Client() *api.Client { return s.client }

// member is one watch. What is below its channels is guarded by Seats.mu.
type member struct {
	seats      *Seats
	site       *site
	datacenter string
	service    string
	woken      chan struct{} // something may have changed
	granted    chan struct{} // there is a seat now, and it is this member's

	seated  bool
	waiting time.Time // since when; zero: it is not
	changed time.Time // when its answer last was another one than before
	asked   time.Time
	exists  bool            // the catalog has it
	blind   bool            // it has instances without checks, or none at all
	nodes   map[string]bool // those of its instances
}

func (s *Seats) join(datacenter, service string) *member {
	m := &member{
		seats: s, datacenter: datacenter, service: service,
		woken: make(chan struct{}, 1), granted: make(chan struct{}, 1),
		blind: true,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.site = s.sites[datacenter]; m.site == nil {
		m.site = &site{plain: make(chan struct{}, plainRemote)}
		if datacenter == "" {
			m.site.plain = make(chan struct{}, plainLocal)
		}
		s.sites[datacenter] = m.site
	}
	m.site.members++
	s.members[m] = struct{}{}
	s.blind++
	return m
}

// leave ends a membership.
func (m *member) leave() {
	s := m.seats
	s.mu.Lock()
	delete(s.members, m)
	if m.site.members--; m.site.members == 0 {
		delete(s.sites, m.datacenter)
	}
	if m.blind {
		s.blind--
	}
	if m.seated {
		m.stand()
	}
	var idle []*caller
	if len(s.members) <= s.limit() {
		idle = s.callersNeeded()
	}
	s.mu.Unlock()
	for _, c := range idle {
		c.stop()
	}
}

// turn is for blockq.Options.
func (m *member) turn(ctx context.Context, blockable bool) (blockq.Turn, error) {
	defer m.seats.requests.Add(1)
	if blockable && m.sit() {
		return blockq.Turn{Wait: m.seats.wait()}, nil
	}
	pause := m.rest()
	if blockable {
		pause = m.next()
	}
	if blockable || pause > 0 {
		if granted, err := m.await(ctx, pause); err != nil {
			return blockq.Turn{}, err
		} else if granted && blockable {
			return blockq.Turn{Wait: m.seats.wait()}, nil
		}
	}
	select {
	case m.site.plain <- struct{}{}:
	case <-ctx.Done():
		return blockq.Turn{}, ctx.Err()
	}
	return blockq.Turn{Done: func() { <-m.site.plain }}, nil
}

// await waits for some time, or until m is woken, or granted a seat.
func (m *member) await(ctx context.Context, pause time.Duration) (granted bool, err error) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-m.granted:
		return true, nil
	case <-m.woken:
	case <-timer.C:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return m.getUp(), nil
}

// sit takes a seat, or keeps the one that m has, or makes m wait.
func (m *member) sit() bool {
	s := m.seats
	s.mu.Lock()
	seated := m.place(time.Now())
	var idle []*caller
	if !seated && (s.callers[m.datacenter] == nil || len(s.members) <= s.limit()) {
		idle = s.callersNeeded()
	}
	s.mu.Unlock()
	for _, c := range idle {
		c.stop()
	}
	return seated
}

// place is sit for the caller that holds mu.
func (m *member) place(now time.Time) bool {
	s := m.seats
	if !m.seated && s.taken >= s.limit() {
		m.waiting = now
		return false
	}
	first := s.first(now)
	switch {
	case m.seated && s.taken <= s.limit() && (first == nil || !first.before(m, now)):
		return true
	case m.seated:
		m.stand()
	case s.taken < s.limit() && first == nil:
		s.taken++
		m.seated = true
		return true
	}
	m.waiting = now
	s.grant(now)
	return false
}

// getUp ends the waiting, and reports whether a seat came at the last moment.
func (m *member) getUp() bool {
	m.seats.mu.Lock()
	defer m.seats.mu.Unlock()
	m.waiting = time.Time{}
	select {
	case <-m.granted:
		return true
	default:
		return false
	}
}

// stand gives up a seat. The caller holds mu.
func (m *member) stand() {
	m.seated = false
	m.seats.taken--
	m.seats.grant(time.Now())
}

// grant gives free seats to those who wait. The caller holds mu.
func (s *Seats) grant(now time.Time) {
	for s.taken < s.limit() {
		m := s.first(now)
		if m == nil {
			return
		}
		m.waiting, m.seated = time.Time{}, true
		s.taken++
		m.granted <- struct{}{}
	}
}

// first is who of those who wait gets the next seat. The caller holds mu.
func (s *Seats) first(now time.Time) *member {
	if len(s.members) <= s.taken {
		return nil
	}
	var first *member
	for m := range s.members {
		if !m.waiting.IsZero() && (first == nil || m.before(first, now)) {
			first = m
		}
	}
	return first
}

// before reports whether m is to have a seat rather than o.
func (m *member) before(o *member, now time.Time) bool {
	hot, other := now.Sub(m.changed) < hotFor, now.Sub(o.changed) < hotFor
	switch {
	case hot && other:
		return m.changed.After(o.changed)
	case hot != other:
		return hot
	case o.seated:
		return true // by turns
	}
	return m.waiting.Before(o.waiting)
}

// wait is how long Consul may hold back a request.
func (s *Seats) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := min(max(s.short, time.Duration(s.taken)*waitPerLoop), longWait)
	return wait - time.Duration(rand.Int64N(int64(wait/4))) // those that began together are not to end together
}

// next is how long m waits before it asks without having been woken.
func (m *member) next() time.Duration {
	s := m.seats
	s.mu.Lock()
	defer s.mu.Unlock()
	period := sweep
	if m.blind {
		period = max(blindSweep, time.Duration(s.blind)*time.Second/blindRate)
	}
	jitter := time.Duration(rand.Int64N(int64(period / 4)))
	return max(period-jitter-time.Since(m.asked), 0)
}

// heard notes what an answer says about how m is to be woken, and whether it differs from the one before.
func (m *member) heard(entries []*api.ServiceEntry, changed bool) {
	nodes, blind := make(map[string]bool, len(entries)), len(entries) == 0
	for _, e := range entries {
		if e == nil || e.Node == nil {
			continue
		}
		nodes[e.Node.Node] = true
		own := false
		for _, c := range e.Checks {
			own = own || c != nil && c.ServiceID != ""
		}
		blind = blind || !own
	}
	s := m.seats
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if changed && !m.asked.IsZero() {
		m.changed = now
	}
	if blind != m.blind {
		if m.blind = blind; blind {
			s.blind++
		} else {
			s.blind--
		}
	}
	m.asked, m.nodes, m.exists = now, nodes, m.exists || len(entries) > 0
	if m.site.failures >= manyFailures {
		s.wakeAll(m.datacenter, func(*member) bool { return true })
	}
	m.site.failures = 0
}
