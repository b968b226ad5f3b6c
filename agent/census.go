package agent

import (
	"cmp"
	"slices"
	"sync"
)

// census knows the live connections. Its methods may be called from any goroutine.
type census struct {
	mu   sync.Mutex
	last uint64
	live map[uint64]*connection
	none chan struct{} // closed while there is no connection
}

func newCensus() *census {
	n := &census{live: map[uint64]*connection{}, none: make(chan struct{})}
	close(n.none)
	return n
}

func (n *census) add(c *connection) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	c.id = n.last
	if len(n.live) == 0 {
		n.none = make(chan struct{})
	}
	n.live[c.id] = c
}

func (n *census) remove(c *connection) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.live, c.id)
	if len(n.live) == 0 {
		close(n.none)
	}
}

// empty returns a channel that is closed when there is no connection, and how many there are.
func (n *census) empty() (<-chan struct{}, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.none, len(n.live)
}

// all returns the connections, oldest first.
func (n *census) all() []*connection {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*connection, 0, len(n.live))
	for _, c := range n.live {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *connection) int { return cmp.Compare(a.id, b.id) })
	return all
}
