package listen

import "sync/atomic"

// Gate limits how many connections a listener has at a time. Its methods may be called from any goroutine; the zero
// Gate has no limit.
type Gate struct {
	open  atomic.Int64
	limit atomic.Int64
}

// SetLimit changes the limit; 0 is none. Connections above a lowered limit stay.
func (g *Gate) SetLimit(n int) { g.limit.Store(int64(n)) }

// Enter takes a place and reports whether there was one.
func (g *Gate) Enter() bool {
	n := g.open.Add(1)
	if limit := g.limit.Load(); limit > 0 && n > limit {
		g.open.Add(-1)
		return false
	}
	return true
}

// Leave gives a place back.
func (g *Gate) Leave() { g.open.Add(-1) }

// Open is the number of places taken.
func (g *Gate) Open() int { return int(g.open.Load()) }
