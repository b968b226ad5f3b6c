package namerd

import (
	"context"
	"iter"
	"net/http"
	"slices"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namerd/wire"
)

// resolve answers /api/1/resolve/<ns>: the addresses of one leaf, drawn by weight. Every reader draws for itself, so that
// together they spread over a union as its weights say.
func (s *Server) resolve(w http.ResponseWriter, r *http.Request, q nameRequest) {
	if q.watch {
		s.stream(w, r, "resolve", typeJSON, func(ctx context.Context) iter.Seq[[]byte] { return changes(s.resolved(ctx, q)) })
		return
	}
	ctx, cancel := s.waiting(r, nameTimeout)
	defer cancel()
	b, ok := s.awaitBinding(ctx, w, q, func(namer.Binding) bool { return true })
	if !ok {
		return
	}
	if id, ok := draw(b.Clusters, s.random()); ok {
		s.replyAddr(ctx, w, typeJSON, id, resolvedAddr)
	} else {
		reply(w, http.StatusOK, typeJSON, nothing())
	}
}

// resolvedAddr writes an address set for linkerd-tcp. It divides weights by their sum, in 32 bits, and panics at what comes
// of it where all are zero: these are equals, and so are those without a weight.
func resolvedAddr(a namer.Addr) []byte {
	var sum float32
	for _, e := range a.Endpoints {
		sum += float32(e.Weight)
	}
	if sum > 0 {
		return wire.Addr(a)
	}
	a.Endpoints = slices.Clone(a.Endpoints)
	for i := range a.Endpoints {
		a.Endpoints[i].Weight = 1
	}
	return wire.Addr(a)
}

func nothing() []byte { return append(wire.Addr(namer.Addr{Status: namer.Neg}), '\n') }

// draw takes a leaf by its share; point is at least 0 and below 1. Not ok: the name is nothing, or a $ was drawn.
func draw(clusters []namer.Cluster, point float64) (id dtab.Path, ok bool) {
	for i, c := range clusters {
		if point -= c.Share; point < 0 || i == len(clusters)-1 {
			return c.ID, c.ID != nil
		}
	}
	return nil, false
}

// resolved yields the address sets that a reader gets: those of one leaf until the tree becomes another, and then of one
// that is drawn anew.
func (s *Server) resolved(ctx context.Context, q nameRequest) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		value, release := s.binding(q)
		defer release()
		var (
			tree  dtab.Tree[namer.Bound]
			drawn bool                  // from tree
			addrs watch.Reader[message] // of the leaf; nil where there is none
			leave = func() {}
			read  watch.Set
		)
		defer func() { leave() }()
		for ctx.Err() == nil {
			read.Reset()
			b := watch.Read(&read, value)
			if b.Status == namer.OK && !(drawn && dtab.EqualTrees(tree, b.Tree, sameName)) {
				leave()
				tree, drawn, addrs, leave = b.Tree, true, nil, func() {}
				if id, ok := draw(b.Clusters, s.random()); ok {
					key, follow := s.addrMessages(id)
					addrs, leave = s.messages.ReadBy(key, follow)
				}
			}
			var document []byte
			switch {
			case addrs != nil:
				document = watch.Read(&read, addrs).document()
			case drawn:
				document = nothing()
			}
			if document != nil && !yield(document) {
				return
			}
			_ = read.Wait(ctx)
		}
	}
}

func sameName(a, b namer.Bound) bool { return a.ID.Equal(b.ID) && a.Residual.Equal(b.Residual) }
