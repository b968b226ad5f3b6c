package web

import (
	"maps"
	"sync"
	"time"
)

// keepOpens is how many of the newest connections a server remembers.
const keepOpens = 4096

// Stats is what a server tells at /stats. Counters count from its start.
type Stats struct {
	Requests int64              `json:"requests"`
	Failed   int64              `json:"failed"`
	Hits     int64              `json:"hits"`
	Misses   int64              `json:"misses"`
	Retried  int64              `json:"retried"`  // commands sent again because an idle connection had died
	Redialed int64              `json:"redialed"` // dials tried again
	LastFail string             `json:"last_fail,omitempty"`
	Backends map[string]Backend `json:"backends"`
	Opens    []Open             `json:"opens"` // the newest connections, oldest first
}

// Backend counts what happened with one Redis, named by the marker key that it answered with.
type Backend struct {
	Open     int64 `json:"open"`   // connections now
	Opened   int64 `json:"opened"` // connections ever
	Requests int64 `json:"requests"`
}

// Open is a connection that was opened.
type Open struct {
	Backend string    `json:"backend"`
	Began   time.Time `json:"began"`   // when the dial began
	Arrived time.Time `json:"arrived"` // when the backend had answered
}

type stats struct {
	mu sync.Mutex
	s  Stats
}

func newStats() *stats { return &stats{s: Stats{Backends: map[string]Backend{}}} }

func (s *stats) update(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.s)
}

func (s *stats) backend(name string, f func(*Backend)) {
	s.update(func(st *Stats) {
		b := st.Backends[name]
		f(&b)
		st.Backends[name] = b
	})
}

func (s *stats) opened(name string, began time.Time) {
	s.backend(name, func(b *Backend) { b.Open++; b.Opened++ })
	s.update(func(st *Stats) {
		if len(st.Opens) >= 2*keepOpens {
			st.Opens = append(st.Opens[:0], st.Opens[keepOpens:]...)
		}
		st.Opens = append(st.Opens, Open{name, began, time.Now()})
	})
}

func (s *stats) closed(name string) { s.backend(name, func(b *Backend) { b.Open-- }) }
func (s *stats) redialed()          { s.update(func(st *Stats) { st.Redialed++ }) }

// since returns the stats with the connections whose dial began at or after t.
func (s *stats) since(t time.Time) Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.s
	out.Backends = maps.Clone(s.s.Backends)
	out.Opens = []Open{}
	for _, o := range s.s.Opens {
		if !o.Began.Before(t) {
			out.Opens = append(out.Opens, o)
		}
	}
	return out
}
