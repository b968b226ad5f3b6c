package door

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
)

// reserve is how many connections there may be above those of callers that were let in: room for health checks when strangers
// take all there is.
const reserve = 16

// conns are the connections of a door. One more than there may be takes the place of one whose caller has not been let in, or
// has nothing under way: of the source that has the most of these the one that has been waiting the longest. A stranger so
// mostly ends connections of its own.
type conns struct {
	metrics *Metrics

	mu      sync.Mutex
	max     int // requests under way of callers that were let in
	all     int
	busy    int
	era     int // grows when the rules have changed
	sources map[netip.Prefix]*source
}

// source is where connections come from.
type source struct {
	all     int
	waiting list.List // of *conn: those that may be closed, the longest waiting first
}

// conn is a connection below TLS.
type conn struct {
	net.Conn
	from   netip.Prefix
	era    int
	place  *list.Element // in its source's waiting; nil: its caller was let in and is served
	closed bool
	owner  *conns
}

// sourceOf takes an IPv6 network of 64 bits for one source, as a single machine may have all of it.
func sourceOf(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

// add takes a new connection in.
func (s *conns) add(c net.Conn) *conn {
	n := &conn{Conn: c, from: sourceOf(c.RemoteAddr()), owner: s}
	s.mu.Lock()
	var out *conn
	if s.all >= s.max+reserve {
		if out = s.longest(); out != nil {
			s.drop(out)
		}
	}
	n.era = s.era
	s.all++
	from := s.sources[n.from]
	if from == nil {
		from = &source{}
		s.sources[n.from] = from
	}
	from.all++
	n.place = from.waiting.PushBack(n)
	s.mu.Unlock()
	if out != nil {
		out.Conn.Close()
		s.metrics.evicted.Inc()
	}
	return n
}

// longest is the connection to give up.
func (s *conns) longest() *conn {
	var most *source
	for _, from := range s.sources {
		if most == nil || from.waiting.Len() > most.waiting.Len() {
			most = from
		}
	}
	if most == nil || most.waiting.Len() == 0 {
		return nil
	}
	return most.waiting.Front().Value.(*conn)
}

// drop takes a connection out. It reports whether it was in.
func (s *conns) drop(c *conn) bool {
	if c.closed {
		return false
	}
	c.closed = true
	s.all--
	from := s.sources[c.from]
	if c.place != nil {
		from.waiting.Remove(c.place)
		c.place = nil
	} else {
		s.busy--
	}
	if from.all--; from.all == 0 {
		delete(s.sources, c.from)
	}
	return true
}

// enter marks that the caller on a connection is served, which is refused when too many are.
func (s *conns) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.closed || c.place == nil:
		return true
	case s.busy >= s.max:
		return false
	}
	s.sources[c.from].waiting.Remove(c.place)
	c.place = nil
	s.busy++
	return true
}

// leave marks that a connection waits for its next request, and closes it where the rules have changed since it was accepted.
func (s *conns) leave(c *conn) {
	s.mu.Lock()
	stale := c.era != s.era
	if !c.closed && c.place == nil {
		s.busy--
		c.place = s.sources[c.from].waiting.PushBack(c)
	}
	s.mu.Unlock()
	if stale {
		c.Close()
	}
}

// renew closes all connections that wait, and the others as soon as they do.
func (s *conns) renew(most int) {
	s.mu.Lock()
	s.max = most
	s.era++
	var out []*conn
	for _, from := range s.sources {
		for e := from.waiting.Front(); e != nil; e = e.Next() {
			out = append(out, e.Value.(*conn))
		}
	}
	s.mu.Unlock()
	for _, c := range out {
		c.Close()
	}
}

// Close takes the connection out of the count.
func (c *conn) Close() error {
	c.owner.mu.Lock()
	c.owner.drop(c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite is for net/http, which wants its last words to arrive before it closes.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// connOf finds our connection below those that are made of it.
func connOf(c net.Conn) *conn {
	for c != nil {
		switch under := c.(type) {
		case *conn:
			return under
		case *tls.Conn:
			c = under.NetConn()
		case interface{ NetConn() net.Conn }:
			c = under.NetConn()
		default:
			return nil
		}
	}
	return nil
}
