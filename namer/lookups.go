package namer

import (
	"context"
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

	// Guarded by lookups.mu.
	users  int
	linger *time.Timer
}

// stamped is an answer and the time since when it stands.
type stamped struct {
	Answer
	since time.Time
}

// mostIdle is how many watches may outlive their last user at a time. Names may come from strangers, and many of them.
const mostIdle = 100

// lookups is the table of live watches. A watch starts with its first user, and ends some time after its last one, so
// that an alternative that comes and goes does not open and close it each time.
type lookups struct {
	ctx    context.Context
	cancel context.CancelFunc
	mounts []Mount
	logger hclog.Logger
	stay   time.Duration // after the last user

	wg     sync.WaitGroup
	mu     sync.Mutex
	live   map[string]*lookup
	idle   int // of those live, without users
	closed bool
}

func newLookups(mounts []Mount, stay time.Duration, logger hclog.Logger) *lookups {
	ctx, cancel := context.WithCancel(context.Background())
	return &lookups{ctx: ctx, cancel: cancel, mounts: mounts, logger: logger, stay: stay, live: make(map[string]*lookup)}
}

func lookupID(mount int, key dtab.Path) string { return strconv.Itoa(mount) + key.String() }

// acquire returns the watch of key at a mount, which the caller must release once. It is nil after close.
func (s *lookups) acquire(id string, mount int, key dtab.Path) *lookup {
	l, fresh := s.use(id)
	if fresh {
		s.start(l, s.mounts[mount], key.Concat()) // a copy: the watch outlives the name that key is a part of
	}
	return l
}

// use finds or makes the entry of a watch.
func (s *lookups) use(id string) (l *lookup, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	l = s.live[id]
	if l == nil {
		l, fresh = &lookup{id: id}, true
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
	return l, fresh
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
