package web

import (
	"maps"
	"sync"
)

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
}

// Backend counts what happened with one Redis, named by the marker key that it answered with.
type Backend struct {
	Open     int64 `json:"open"`   // connections now
	Opened   int64 `json:"opened"` // connections ever
	Requests int64 `json:"requests"`
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

func (s *stats) opened(name string) { s.backend(name, func(b *Backend) { b.Open++; b.Opened++ }) }

func (s *stats) closed(name string) { s.backend(name, func(b *Backend) { b.Open-- }) }
func (s *stats) redialed()          { s.update(func(st *Stats) { st.Redialed++ }) }

// get returns a copy.
func (s *stats) get() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.s
	out.Backends = maps.Clone(s.s.Backends)
	return out
}
