package listen

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limit is the name of a limit, for log and metric; "" is none.
type Limit string

// The limits.
const (
	LimitConnections Limit = "connections" // too many are open
	LimitSource      Limit = "source"      // too many are open from this address
	LimitRate        Limit = "rate"        // too many are new
	LimitQueue       Limit = "queue"       // too many wait
	LimitHandshakes  Limit = "handshakes"  // too many TLS handshakes are under way
)

// AllLimits returns every limit, in a fixed order.
func AllLimits() []Limit {
	return []Limit{LimitConnections, LimitSource, LimitRate, LimitQueue, LimitHandshakes}
}

// Limits of a listener; 0 is no limit.
type Limits struct {
	Connections int     // open at a time
	PerSource   int     // open at a time from one IP address
	Rate        float64 // new ones per second
	Burst       int     // that may come at once above Rate

	QueueLength  int           // connections that wait; with PerSource, at most so many of them are from one address
	QueueTimeout time.Duration // for which they wait
}

// Limiter counts the connections of a listener and lets them in. Whoever has been let in leaves again, with the same
// source. Sources are IP addresses; those of Unix sockets are the zero netip.Addr, which has no limit of its own. It keeps
// only sources that have open or waiting connections. Its methods may be called from any goroutine; the zero Limiter has no limits.
type Limiter struct {
	mu      sync.Mutex
	limits  Limits
	open    int
	sources map[netip.Addr]presence
	most    int // sources since the map was made
	bucket  *rate.Limiter
	queue   queue
	timer   *time.Timer // that lets the next one in when the rate allows it
}

// presence is what one source has.
type presence struct{ open, waiting int32 }

// SetLimits changes the limits. Connections above lowered ones stay; those that wait are let in if that is possible now.
func (l *Limiter) SetLimits(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case limits.Rate <= 0:
		l.bucket = nil
	case l.bucket == nil:
		l.bucket = rate.NewLimiter(rate.Limit(limits.Rate), max(limits.Burst, 1))
	default: // what has been used stays used
		l.bucket.SetLimit(rate.Limit(limits.Rate))
		l.bucket.SetBurst(max(limits.Burst, 1))
	}
	l.limits = limits
	l.advance()
}

// Admit lets a connection in, or says which limit is in the way. It does not wait, and nobody overtakes those who do.
func (l *Limiter) Admit(source netip.Addr) (ok bool, why Limit) {
	source = plain(source)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	why = l.take(source)
	return why == "", why
}

// Move changes the source of a connection that has been let in, once it is known for whom a trusted proxy has opened it.
// If the new source has too many, the connection keeps its old one.
func (l *Limiter) Move(from, to netip.Addr) (ok bool, why Limit) {
	from, to = plain(from), plain(to)
	l.mu.Lock()
	defer l.mu.Unlock()
	if from == to {
		return true, ""
	}
	if l.full(to) {
		return false, LimitSource
	}
	l.count(from, -1, 0)
	l.count(to, 1, 0)
	l.advance()
	return true, ""
}

// Leave gives a place back.
func (l *Limiter) Leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	l.count(plain(source), -1, 0)
	l.advance()
}

// Open is the number of places taken, Waiting of those who wait for one.
func (l *Limiter) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Waiting is the number of connections that wait for a place.
func (l *Limiter) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.length
}

// Wait waits in the queue for a place, first come, first served. why is the limit that was in the way for too long, or
// LimitQueue if the queue is full. It ends with ctx, with its cause as error; who leaves then leaves no trace.
func (l *Limiter) Wait(ctx context.Context, source netip.Addr) (why Limit, err error) {
	source = plain(source)
	w := &waiter{source: source, admitted: make(chan struct{})}
	l.mu.Lock()
	l.advance()
	if w.why = l.take(source); w.why == "" {
		l.mu.Unlock()
		return "", nil
	}
	s := l.sources[source]
	if l.queue.length >= l.limits.QueueLength || (l.limits.PerSource > 0 && source.IsValid() && int(s.waiting) >= l.limits.PerSource) {
		l.mu.Unlock()
		return LimitQueue, nil
	}
	l.queue.push(w)
	l.count(source, 0, 1)
	l.advance() // sets the timer
	timeout := time.NewTimer(l.limits.QueueTimeout)
	l.mu.Unlock()
	defer timeout.Stop()

	select {
	case <-w.admitted:
		return "", nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timeout.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !w.queued { // let in just now
		if err != nil {
			l.open--
			l.count(source, -1, 0)
			l.advance()
		}
		return "", err
	}
	l.queue.remove(w)
	l.count(source, 0, -1)
	return w.why, err
}

// take takes a place, or says why there is none.
func (l *Limiter) take(source netip.Addr) Limit {
	switch {
	case l.limits.Connections > 0 && l.open >= l.limits.Connections:
		return LimitConnections
	case l.full(source):
		return LimitSource
	case l.bucket != nil && !l.bucket.Allow():
		return LimitRate
	}
	l.open++
	l.count(source, 1, 0)
	return ""
}

func (l *Limiter) full(source netip.Addr) bool {
	return l.limits.PerSource > 0 && source.IsValid() && int(l.sources[source].open) >= l.limits.PerSource
}

// advance lets those in who can come in, in their order. Who is held up by the limit of a source holds up no others.
func (l *Limiter) advance() {
	for w := l.queue.first; w != nil; {
		next := w.next
		switch w.why = l.take(w.source); w.why {
		case "":
			l.queue.remove(w)
			l.count(w.source, 0, -1)
			close(w.admitted)
		case LimitConnections:
			return
		case LimitRate:
			l.wake()
			return
		}
		w = next
	}
}

// wake calls advance again when the bucket has a token.
func (l *Limiter) wake() {
	missing := max(1-l.bucket.Tokens(), 0)
	in := min(time.Duration(missing/float64(l.bucket.Limit())*float64(time.Second))+time.Microsecond, time.Minute)
	if l.timer == nil {
		l.timer = time.AfterFunc(in, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.advance()
		})
		return
	}
	l.timer.Reset(in)
}

// count keeps what a source has, as long as it has anything.
func (l *Limiter) count(source netip.Addr, open, waiting int32) {
	if !source.IsValid() {
		return
	}
	p := l.sources[source]
	p.open += open
	p.waiting += waiting
	if p == (presence{}) {
		delete(l.sources, source)
		if len(l.sources) == 0 && l.most > 1000 { // a map keeps the room that it once needed
			l.sources, l.most = nil, 0
		}
		return
	}
	if l.sources == nil {
		l.sources = map[netip.Addr]presence{}
	}
	l.sources[source] = p
	l.most = max(l.most, len(l.sources))
}

// plain makes one address of what may be written in several ways.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
