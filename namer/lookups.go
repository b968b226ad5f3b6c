package namer

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/watch"
)

// lookup is one live watch of one name at one mount, shared by all who want to know.
type lookup struct {
	id     string
	cell   *watch.Cell[stamped]
	ctx    context.Context // of the watch
	cancel context.CancelFunc
	peeked chan struct{} // closed when what the namer knows at once is in the cell

	// Guarded by lookups.mu.
	users  int
	linger *time.Timer
}

// stamped is an answer and the time since when it stands.
type stamped struct {
	Answer
	since time.Time
}

// reservedPart: guests leave one in so many watches to others.
const reservedPart = 10

// TooManyWatchesError says that a name would have to be watched, and that as many are watched as may be. It is bound as
// soon as there is room.
type TooManyWatchesError struct{ Most int }

func (e *TooManyWatchesError) Error() string {
	return fmt.Sprintf("bind: %d names are watched already, which is the limit", e.Most)
}

// mostIdle is how many watches may outlive their last user at a time. Names may come from strangers, and many of them.
const mostIdle = 100

// lookups is the table of live watches. A watch starts with its first user, and ends some time after its last one, so
// that an alternative that comes and goes does not open and close it each time.
type lookups struct {
	ctx     context.Context
	cancel  context.CancelFunc
	mounts  []Mount
	logger  hclog.Logger
	metrics *metrics
	stay    time.Duration // after the last user
	most    int           // watches at a time

	wg     sync.WaitGroup
	mu     sync.Mutex
	live   map[string]*lookup
	idle   int  // of those live, without users
	full   bool // a watch has been refused, and there have been as many ever since
	closed bool
}

func newLookups(mounts []Mount, o Options) *lookups {
	ctx, cancel := context.WithCancel(context.Background())
	return &lookups{
		ctx: ctx, cancel: cancel, mounts: mounts, logger: o.Logger, metrics: newMetrics(o.Registry),
		stay: o.Linger, most: o.MaxWatches, live: make(map[string]*lookup),
	}
}

func lookupID(mount int, key dtab.Path) string { return strconv.Itoa(mount) + key.String() }

// acquire returns the watch of key at a mount, which the caller must release once. The error is ErrClosed or
// *TooManyWatchesError. Guests come after others where there are not enough watches for all.
func (s *lookups) acquire(id string, mount int, key dtab.Path, guest bool) (*lookup, error) {
	l, fresh, err := s.use(id, guest)
	switch {
	case err != nil:
		return nil, err
	case fresh:
		s.start(l, s.mounts[mount], key.Concat()) // a copy: the watch outlives the name that key is a part of
	default:
		<-l.peeked // or this name would be bound without a part that is known
	}
	return l, nil
}

// use finds or makes the entry of a watch.
func (s *lookups) use(id string, guest bool) (l *lookup, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, ErrClosed
	}
	l = s.live[id]
	if l == nil {
		if err := s.room(guest); err != nil {
			return nil, false, err
		}
		s.metrics.watches.Inc()
		l, fresh = &lookup{id: id, peeked: make(chan struct{})}, true
		l.ctx, l.cancel = context.WithCancel(s.ctx)
		l.cell = watch.New(stamped{since: time.Now()}, func(a, b stamped) bool { return a.Answer.Equal(b.Answer) })
		s.live[id] = l
	}
	if l.linger != nil {
		l.linger.Stop()
		l.linger = nil
		s.idle--
	}
	l.users++
	return l, fresh, nil
}

// room makes room for one more watch. The caller holds mu.
func (s *lookups) room(guest bool) error {
	most := s.most
	if guest {
		most -= most / reservedPart
	}
	if len(s.live) >= most && s.idle > 0 {
		for _, l := range s.live {
			if l.users == 0 {
				l.linger.Stop()
				s.idle--
				s.drop(l)
				break
			}
		}
	}
	if len(s.live) < most {
		s.full = s.full && len(s.live) > most*9/10 // said once, and not at every come and go
		return nil
	}
	if !s.full {
		s.full = true
		s.logger.Warn("too many names are watched, further ones are not bound", "watches", len(s.live), "most", s.most)
	}
	s.metrics.refused.Inc()
	return &TooManyWatchesError{Most: most}
}

// start opens a watch. It does not hold mu meanwhile: a namer may be slow to say what it knows.
func (s *lookups) start(l *lookup, m Mount, key dtab.Path) {
	publish := func(a Answer) {
		if l.ctx.Err() == nil {
			l.cell.Set(stamped{a, time.Now()})
		}
	}
	if p, ok := m.Namer.(Peeker); ok {
		if a, ok := p.Peek(m.Prefix, key); ok {
			publish(a)
		}
	}
	close(l.peeked)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.wg.Go(func() {
		m.Namer.Watch(l.ctx, m.Prefix, key, publish)
		if l.ctx.Err() == nil {
			s.logger.Error("namer stopped watching before it was told to", "name", m.Prefix.Concat(key).String())
		}
	})
}

// release gives up one use.
func (s *lookups) release(l *lookup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users > 0 || s.closed {
		return
	}
	if s.stay <= 0 || s.idle >= mostIdle {
		s.drop(l)
		return
	}
	s.idle++
	l.linger = time.AfterFunc(s.stay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.users == 0 && s.live[l.id] == l {
			s.idle--
			s.drop(l)
		}
	})
}

// drop ends a watch that nobody uses. The caller holds mu.
func (s *lookups) drop(l *lookup) {
	s.metrics.watches.Dec()
	delete(s.live, l.id)
	l.cancel()
}

// close ends all watches and waits for them.
func (s *lookups) close() {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.live {
		if l.linger != nil {
			l.linger.Stop()
		}
	}
	s.metrics.watches.Sub(float64(len(s.live)))
	clear(s.live)
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
}

// share adds a use to a watch that the caller uses already, and so is live. It is false after close.
func (s *lookups) share(l *lookup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	l.users++
	return true
}
