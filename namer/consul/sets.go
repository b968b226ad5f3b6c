package consul

import (
	"context"
	"sync"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/blockq"
	"argosy/internal/consulacl"
	"argosy/internal/consulclient"
	"argosy/internal/watch"
	"argosy/namer"
)

// sets are the live sets of endpoints, one for each request that somebody is interested in.
type sets struct {
	start func(ctx context.Context, r request, cell *watch.Cell[namer.Addr]) // until ctx ends

	mu   sync.Mutex
	live map[request]*set
}

// set is one of them. Pending: nothing is known yet; Neg: there is none.
type set struct {
	cell   *watch.Cell[namer.Addr]
	users  int
	cancel context.CancelFunc
	done   chan struct{}
}

// acquire returns the set of r, which is to be released once.
func (s *sets) acquire(r request) *set {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.live[r]
	if one == nil {
		ctx, cancel := context.WithCancel(context.Background())
		one = &set{cell: watch.New(namer.Addr{}, namer.Addr.Equal), cancel: cancel, done: make(chan struct{})}
		if s.live == nil {
			s.live = make(map[request]*set)
		}
		s.live[r] = one
		go func() {
			defer close(one.done)
			s.start(ctx, r, one.cell)
		}()
	}
	one.users++
	return one
}

// release gives a set up; with its last user it ends, and is waited for.
func (s *sets) release(r request, one *set) {
	s.mu.Lock()
	one.users--
	last := one.users == 0
	if last {
		delete(s.live, r)
	}
	s.mu.Unlock()
	if last {
		one.cancel()
		<-one.done
	}
}

// open follows one request until ctx ends.
func (n *Namer) open(ctx context.Context, r request, cell *watch.Cell[namer.Addr]) {
	w := &follower{
		namer:   n,
		request: r,
		set:     cell.Set,
		logger:  n.logger.With("service", r.service, "datacenter", r.datacenter),
		metrics: n.metrics.follow(r),
		saved:   n.saved("set", r),
	}
	defer w.metrics.stop()
	w.start()
	defer w.stop()
	m := n.options.Seats.join(r.datacenter, r.service)
	defer m.leave()

	seen := false    // the service has had instances
	checked := false // and until then, whether they could be seen was asked for
	told := false    // that some cannot be seen
	blockq.Run(ctx, n.loop(m), func(q *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
		entries, meta, err := n.ask(r, q)
		if err == nil && len(entries) == 0 && seen && q.WaitIndex > 0 {
			// All gone at once: rare enough, and grave enough, to make sure with a request that does not block.
			entries, meta, err = n.ask(r, (&api.QueryOptions{}).WithContext(q.Context()))
		}
		seen = seen || len(entries) > 0
		if err == nil && meta.ResultsFilteredByACLs && !told {
			told = true
			w.logger.Log(n.level(hclog.Warn), "some instances are not used: "+consulacl.Lacks("they are not visible", consulacl.AllNodes()))
		}
		if err == nil && !seen && !checked && q.WaitIndex == 0 {
			err = consulclient.Invisible(q.Context(), n.client, r.service, meta)
		}
		checked = err == nil
		return entries, meta, err
	}, func(entries []*api.ServiceEntry, meta *api.QueryMeta, err error) {
		a := answer{entries: entries, err: err}
		if err == nil {
			a.index, a.cached = meta.LastIndex, n.options.Cached && meta.CacheAge > 0
		}
		if changed := w.take(a); err == nil {
			m.heard(entries, changed)
		} else {
			m.failed()
		}
	})
}

// reader is one running watch of a name. It is used by one goroutine.
type reader struct {
	namer *Namer
	held  map[request]*set
	read  watch.Set
}

// answer is what the name stands for now. Pending: it is not known.
func (w *reader) answer(plans watch.Reader[plan]) namer.Answer {
	w.read.Reset()
	p := watch.Read(&w.read, plans)
	if !p.known {
		return namer.Answer{}
	}
	used := make(map[request]*set)
	tree := dtab.Tree[namer.Leaf]{Kind: dtab.Alt}
	waiting := false
	trouble := p.reason
	for _, t := range p.targets {
		addr := w.addr(t.request, used)
		switch {
		case addr.Status == namer.OK:
			tree.Branches = append(tree.Branches, dtab.Branch[namer.Leaf]{Weight: 1, Tree: dtab.LeafOf(namer.Leaf{
				Bound: &namer.Bound{ID: t.id, Addr: addr},
			})})
		case addr.Status == namer.Pending && len(tree.Branches) == 0:
			waiting = true // it may be what this name is to be
		case addr.Err != nil && trouble == nil:
			trouble = addr.Err
		}
	}
	w.keep(used)
	switch {
	case waiting:
		return namer.Answer{}
	case len(tree.Branches) == 0:
		return namer.Answer{Status: namer.OK, Tree: dtab.Tree[namer.Leaf]{Kind: dtab.Neg}, Err: trouble}
	case len(tree.Branches) == 1:
		tree = tree.Branches[0].Tree
	}
	return namer.Answer{Status: namer.OK, Tree: tree}
}

// addr reads the set of a request, and that of the service's own instances if Connect is preferred but not there.
func (w *reader) addr(r request, used map[request]*set) namer.Addr {
	addr := w.one(r, used)
	if w.namer.options.Connect != ConnectPrefer {
		return addr
	}
	r.connect = false
	if plain := w.one(r, used); addr.Status == namer.Neg {
		return plain
	}
	return addr
}

func (w *reader) one(r request, used map[request]*set) namer.Addr {
	s := used[r]
	if s == nil {
		if s = w.held[r]; s == nil {
			s = w.namer.sets.acquire(r)
		}
		used[r] = s
	}
	return watch.Read(&w.read, watch.Reader[namer.Addr](s.cell))
}

// keep holds the sets that are used now, and releases those that are not any more.
func (w *reader) keep(used map[request]*set) {
	for r, s := range w.held {
		if used[r] == nil {
			w.namer.sets.release(r, s)
		}
	}
	w.held = used
}

func (w *reader) release() { w.keep(nil) }
