// Package manual is a namer that is driven by hand: for tests, and for whoever has the endpoints already.
//
//	m := manual.New(1)
//	m.SetEndpoints("redis", "127.0.0.1:6379") // now /#/prefix/redis is bound
//	m.Remove("redis")                         // and now it is nothing
package manual

import (
	"context"
	"slices"
	"sync"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
)

// Namer answers what it has been told, and Pending until then. Its methods may be called from any goroutine.
type Namer struct {
	depth int

	mu    sync.Mutex
	names map[string]*name
}

type name struct {
	cell     *watch.Cell[namer.Answer]
	watchers int
	opened   int
}

// New makes a namer whose keys are the first depth elements of names. Shorter names are nothing.
func New(depth int) *Namer { return &Namer{depth: depth, names: make(map[string]*name)} }

// Set makes an answer that of a key, given as "redis" or "dc1/redis". The IDs of its bound leaves are those below the
// prefix; Watch puts the prefix in front.
func (n *Namer) Set(key string, a namer.Answer) { n.at(dtab.MustParsePath("/" + key)).cell.Set(a) }

// SetEndpoints makes a key one concrete name with endpoints of weight 1 at the addresses, which may be none.
func (n *Namer) SetEndpoints(key string, addrs ...string) {
	endpoints := make([]namer.Endpoint, len(addrs))
	for i, a := range addrs {
		endpoints[i] = namer.Endpoint{Addr: a, Weight: 1}
	}
	n.SetAddr(key, namer.Addr{Status: namer.OK, Endpoints: namer.SortEndpoints(endpoints)})
}

// SetAddr makes a key one concrete name whose endpoints are in that state.
func (n *Namer) SetAddr(key string, addr namer.Addr) {
	n.Set(key, namer.BoundAnswer(dtab.MustParsePath("/"+key), addr))
}

// Remove makes a key nothing.
func (n *Namer) Remove(key string) { n.Set(key, namer.NoAnswer()) }

// Fail makes a key one that cannot be known.
func (n *Namer) Fail(key string, err error) {
	n.Set(key, namer.Answer{Status: namer.Failed, Err: err})
}

// Forget makes a key Pending again.
func (n *Namer) Forget(key string) { n.Set(key, namer.Answer{}) }

// Watching returns the keys that are being watched, sorted, as they are given to Set.
func (n *Namer) Watching() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	keys := []string{}
	for key, name := range n.names {
		if name.watchers > 0 {
			keys = append(keys, key[1:])
		}
	}
	slices.Sort(keys)
	return keys
}

// Opened returns how often a watch of key has been started.
func (n *Namer) Opened(key string) int {
	name := n.at(dtab.MustParsePath("/" + key))
	n.mu.Lock()
	defer n.mu.Unlock()
	return name.opened
}

func (n *Namer) at(key dtab.Path) *name {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := key.String()
	if n.names[k] == nil {
		n.names[k] = &name{cell: watch.New(namer.Answer{}, namer.Answer.Equal)}
	}
	return n.names[k]
}

// Split implements namer.Namer.
func (n *Namer) Split(name dtab.Path) (key, residual dtab.Path, ok bool) {
	if len(name) < n.depth {
		return nil, nil, false
	}
	return name[:n.depth], name[n.depth:], true
}

// Peek implements namer.Peeker: what has been set is known at once.
func (n *Namer) Peek(prefix, key dtab.Path) (namer.Answer, bool) {
	a := n.at(key).cell.Value()
	return below(prefix, a), a.Status != namer.Pending
}

// Watch implements namer.Namer.
func (n *Namer) Watch(ctx context.Context, prefix, key dtab.Path, publish func(namer.Answer)) {
	name := n.at(key)
	n.count(name, 1)
	defer n.count(name, -1)
	first := true
	for a := range watch.Values(ctx, name.cell) {
		if !first || a.Status != namer.Pending {
			publish(below(prefix, a))
		}
		first = false
	}
}

func (n *Namer) count(name *name, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name.watchers += by
	name.opened += max(by, 0)
}

// below puts the prefix in front of the bound names of an answer.
func below(prefix dtab.Path, a namer.Answer) namer.Answer {
	a.Tree = dtab.Map(a.Tree, func(l namer.Leaf) namer.Leaf {
		if l.Bound == nil {
			return l
		}
		b := *l.Bound
		b.ID = prefix.Concat(b.ID)
		return namer.Leaf{Bound: &b}
	})
	return a
}
