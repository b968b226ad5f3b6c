package agent

import (
	"sync"
)

// census knows the live connections: a list from the oldest to the newest, in the connections themselves. A map would
// keep the room that it once needed. Its methods may be called from any goroutine.
type census struct {
	mu             sync.Mutex
	last           uint64 // id
	live           int
	oldest, newest *connection
	none           chan struct{} // closed while there is no connection
}

func newCensus() *census {
	n := &census{none: make(chan struct{})}
	close(n.none)
	return n
}

func (n *census) add(c *connection) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	c.id = n.last
	if n.live == 0 {
		n.none = make(chan struct{})
		n.oldest = c
	} else {
		c.older, n.newest.newer = n.newest, c
	}
	n.newest = c
	n.live++
}

func (n *census) remove(c *connection) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		n.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		n.newest = c.older
	}
	c.older, c.newer = nil, nil
	if n.live--; n.live == 0 {
		close(n.none)
	}
}

// empty returns a channel that is closed when there is no connection, and how many there are.
func (n *census) empty() (<-chan struct{}, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.none, n.live
}

// moves is how many connections have come or gone so far.
func (n *census) moves() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return 2*n.last - uint64(n.live)
}

func (n *census) count() int {
	_, live := n.empty()
	return live
}

// all returns the connections, oldest first.
func (n *census) all() []*connection {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*connection, 0, n.live)
	for c := n.oldest; c != nil; c = c.newer {
		all = append(all, c)
	}
	return all
}

// find returns the connection of that id, or nil. It looks through them from the newest.
func (n *census) find(id uint64) *connection {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := n.newest; c != nil && c.id >= id; c = c.older {
		if c.id == id {
			return c
		}
	}
	return nil
}
