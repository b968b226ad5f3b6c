package remote

import (
	"context"
	"errors"
	"net/url"
	"sync"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
)

// errPending is for a name that namerd does not know yet itself.
var errPending = errors.New("namerd does not know yet")

// errSilent stands beside a value while a stream is open that says nothing.
var errSilent = errors.New("namerd says nothing on its stream")

// answer is what the namerd says that a name stands for.
type answer struct {
	tree dtab.Tree[namer.Bound]
	flat bool // from resolve: the addresses in it are all there is
}

func equalAnswers(a, b state[answer]) bool {
	return a.known == b.known && errText(a.err) == errText(b.err) && a.value.flat == b.value.flat &&
		dtab.EqualTrees(a.value.tree, b.value.tree, namer.Bound.Equal)
}

func equalAddrs(a, b state[namer.Addr]) bool {
	return a.known == b.known && errText(a.err) == errText(b.err) && a.value.Equal(b.value)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// bound keeps one name bound.
type bound struct {
	in    *Interpreter
	name  dtab.Path
	cell  *watch.Cell[namer.Binding]
	trees *watch.Cell[state[answer]]

	held map[string]held // the concrete names of the last tree; of follow's goroutine
	read watch.Set
}

// held is a use of a concrete name's addresses.
type held struct {
	addr    watch.Reader[state[namer.Addr]]
	release func()
}

// follow publishes the binding now and whenever its tree or an address has changed, until ctx ends.
func (b *bound) follow(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() {
		follow(ctx, b.in, b.source(), func(s state[answer]) { b.trees.Set(s) })
	})
	defer func() {
		for _, h := range b.held {
			h.release()
		}
	}()
	for ctx.Err() == nil {
		b.read.Reset()
		b.cell.Set(b.step())
		_ = b.read.Wait(ctx)
	}
}

func (b *bound) source() source[answer] {
	return source[answer]{
		kind: kindBind, stream: b.in.bindQuery(b.name, true), take: takeTree,
		polled: kindResolve, poll: b.in.resolveQuery(b.name),
		takePolled: func(document []byte, old state[answer]) (answer, error) {
			return takeResolved(document, b.name, old)
		},
	}
}

// step puts the tree and the addresses together.
func (b *bound) step() namer.Binding {
	s := watch.Read(&b.read, watch.Reader[state[answer]](b.trees))
	if !s.known {
		return unknown(s.err)
	}
	now := map[string]held{}
	tree := s.value.tree
	if s.value.flat {
		if s.err != nil {
			tree = dtab.Map(tree, stale)
		}
	} else {
		tree = dtab.Map(tree, func(leaf namer.Bound) namer.Bound { return b.leaf(leaf, now) })
	}
	for id, h := range b.held {
		if _, still := now[id]; !still {
			h.release()
		}
	}
	b.held = now
	return namer.Binding{Status: namer.OK, Tree: tree, Clusters: namer.Clusters(tree), Err: s.err}
}

// unknown is the binding of a name about which nothing good has been said. What the namerd says is final until it says
// something else; when it cannot be reached, connections better wait.
func unknown(err error) namer.Binding {
	var final *saidError
	if errors.As(err, &final) || errors.Is(err, errTooManyStreams) {
		return namer.Binding{Status: namer.Failed, Err: err}
	}
	return namer.Binding{Status: namer.Pending, Err: err}
}

// leaf gives a leaf the addresses of now, and notes in now that it is used.
func (b *bound) leaf(leaf namer.Bound, now map[string]held) namer.Bound {
	id := leaf.ID.String()
	h, ok := now[id]
	if !ok {
		if h, ok = b.held[id]; !ok {
			h.addr, h.release = b.in.addrs.Read(id)
		}
		now[id] = h
	}
	s := watch.Read(&b.read, h.addr)
	switch {
	case s.known:
		leaf.Addr = s.value
	case leaf.Addr.Status != namer.OK && s.err != nil:
		leaf.Addr = namer.Addr{Status: namer.Failed, Err: s.err}
	} // else the addresses that came with the tree, until there are better ones
	if s.err != nil {
		leaf = stale(leaf)
	}
	return leaf
}

// stale marks the addresses of a leaf as the last known ones.
func stale(leaf namer.Bound) namer.Bound {
	if leaf.Addr.Status == namer.OK {
		leaf.Addr.Stale = true
	}
	return leaf
}

// followAddr is how the addresses of one concrete name are followed for all who lead to it.
func (in *Interpreter) followAddr(ctx context.Context, id string, set func(state[namer.Addr])) {
	query := "path=" + url.QueryEscape(id)
	follow(ctx, in, source[namer.Addr]{
		kind: kindAddr, stream: query + "&watch=1", take: takeAddr,
		polled: kindAddr, poll: query, takePolled: takeAddr,
	}, set)
}

// bindQuery asks what a name stands for, with the parameters in the order in which Linkerd sends them.
func (in *Interpreter) bindQuery(name dtab.Path, watching bool) string {
	q := "path=" + url.QueryEscape(name.String())
	if watching {
		q += "&watch=1"
	}
	return q + "&dtab=" + url.QueryEscape(in.options.Local.String())
}

// resolveQuery is linkerd-tcp's.
func (in *Interpreter) resolveQuery(name dtab.Path) string {
	q := "path=" + url.QueryEscape(name.String())
	if len(in.options.Local) > 0 {
		q += "&dtab=" + url.QueryEscape(in.options.Local.String())
	}
	return q
}
