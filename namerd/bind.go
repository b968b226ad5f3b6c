package namerd

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namerd/wire"
)

// nameTimeout is how long is waited until all of a name is known. Namerd waits for ever.
const nameTimeout = 10 * time.Second

// nameRequest is what is asked of bind, addr and resolve.
type nameRequest struct {
	ns    string
	path  dtab.Path
	local dtab.Dtab
	watch bool
	key   string // of the name: the same for requests that ask for the same
}

// nameRoute reads a request for a name and hands it on. rest is what follows the route's path: a slash and the namespace.
// As in Namerd the path is looked at first, even where the namespace is missing. Only withDtab is that parameter looked at.
func (s *Server) nameRoute(w http.ResponseWriter, r *http.Request, rest string, withDtab bool, serve func(http.ResponseWriter, *http.Request, nameRequest)) {
	if !s.bindsNames(w) {
		return
	}
	p, ok := s.parametersOf(w, r)
	if !ok {
		return
	}
	path, err := p.path()
	if err != nil {
		replyText(w, http.StatusBadRequest, err.Error())
		return
	}
	ns, ok := strings.CutPrefix(rest, "/")
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	q := nameRequest{ns: ns, path: path, watch: p.isWatch(r)}
	var text string
	if withDtab {
		if q.local, text, err = p.dtab(); err != nil {
			replyText(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	q.key = keyOf(ns, path.String(), text)
	serve(w, r, q)
}

// bindsNames answers requests that this server has nothing for.
func (s *Server) bindsNames(w http.ResponseWriter) bool {
	if s.naming == nil {
		replyText(w, http.StatusNotImplemented, "this namerd serves dtabs only and binds no names")
	}
	return s.naming != nil
}

// waiting is the context of a request that waits for a name.
func (s *Server) waiting(r *http.Request, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	stop := context.AfterFunc(s.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// bind answers /api/1/bind/<ns>.
func (s *Server) bind(w http.ResponseWriter, r *http.Request, q nameRequest) {
	if q.watch {
		s.watch(w, r, "bind", "", keyOf("bind", q.key), func(ctx context.Context, set func(message)) { s.followTree(ctx, q, set) })
		return
	}
	ctx, cancel := s.waiting(r, nameTimeout)
	defer cancel()
	b, ok := s.awaitBinding(ctx, w, q, func(b namer.Binding) bool { return !awaitsAddr(b.Tree) })
	if !ok {
		return
	}
	tree, err := wire.Tree(b.Tree)
	if err != nil {
		replyText(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply(w, http.StatusOK, "", append(tree, '\n'))
}

// awaitBinding waits until a name is bound and is enough, or answers the request with why it is not.
func (s *Server) awaitBinding(ctx context.Context, w http.ResponseWriter, q nameRequest, enough func(namer.Binding) bool) (namer.Binding, bool) {
	value, release := s.binding(q)
	defer release()
	var b namer.Binding
	for b = range watch.Values(ctx, value) {
		switch {
		case b.Status == namer.Failed:
			replyText(w, http.StatusInternalServerError, b.Err.Error())
			return b, false
		case b.Status == namer.OK && enough(b):
			return b, true
		}
	}
	s.notInTime(w, q.path, b.Err)
	return b, false
}

// notInTime answers a request whose waiting has ended.
func (s *Server) notInTime(w http.ResponseWriter, path dtab.Path, why error) {
	if s.stopping.Err() != nil {
		replyText(w, http.StatusServiceUnavailable, "namerd is stopping")
		return
	}
	text := fmt.Sprintf("%s is not known within %v", path, nameTimeout)
	if why != nil {
		text += ": " + why.Error()
	}
	replyText(w, http.StatusServiceUnavailable, text)
}

// binding is a live binding. Requests for the same name share it.
func (s *Server) binding(q nameRequest) (value watch.Reader[namer.Binding], release func()) {
	return s.bindings.ReadBy(q.key, func(ctx context.Context, set func(namer.Binding)) {
		for b := range watch.Values(ctx, s.naming.Bind(ctx, q.ns, q.local, dtab.LeafOf(q.path))) {
			set(b)
		}
	})
}

// followTree tells the bound trees of a name. A name that cannot be bound, or not to what can be sent, says nothing: what was
// sent last stands, since text that is no JSON ends Linkerd's watch for good. Changes of addresses do not count, but who comes later gets those
// of then.
func (s *Server) followTree(ctx context.Context, q nameRequest, set func(message)) {
	value, release := s.binding(q)
	defer release()
	t := teller{set: set}
	var patience <-chan time.Time // with addresses that are not known, as long as the tree stays
	var pending string            // that tree
	for ctx.Err() == nil {
		b, superseded := value.Load()
		if b.Status == namer.OK {
			key := string(wire.TreeOfIDs(b.Tree))
			switch {
			case key == t.last.key || !awaitsAddr(b.Tree) || key == pending && patience == nil:
				if tree, err := wire.Tree(b.Tree); err == nil {
					t.tell(key, append(tree, '\n'))
				}
			case key != pending:
				pending, patience = key, time.After(nameTimeout)
			}
		}
		select {
		case <-superseded:
		case <-patience:
			patience = nil
		case <-ctx.Done():
		}
	}
}

// awaitsAddr reports whether the addresses of a leaf are not known yet.
func awaitsAddr(t dtab.Tree[namer.Bound]) bool {
	if t.Kind == dtab.Leaf {
		return t.Leaf.Addr.Status == namer.Pending
	}
	return slices.ContainsFunc(t.Branches, func(b dtab.Branch[namer.Bound]) bool { return awaitsAddr(b.Tree) })
}
