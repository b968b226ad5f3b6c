package namerd

import (
	"context"
	"errors"
	"net/http"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namerd/names"
	"argosy/namerd/wire"
)

// addr answers /api/1/addr/<ns>. The path is the id of a bound name, so the namespace takes no part.
func (s *Server) addr(w http.ResponseWriter, r *http.Request, q nameRequest) {
	if q.watch {
		key, follow := s.addrMessages(q.path)
		s.watch(w, r, "addr", "", key, follow)
		return
	}
	ctx, cancel := s.waiting(r, nameTimeout)
	defer cancel()
	s.replyAddr(ctx, w, "", q.path, wire.Addr)
}

// replyAddr answers with the address set of a concrete name once it is known.
func (s *Server) replyAddr(ctx context.Context, w http.ResponseWriter, contentType string, id dtab.Path, write func(namer.Addr) []byte) {
	binding, cancel := context.WithCancel(ctx)
	defer cancel()
	var a namer.Addr
	for a = range watch.Values(ctx, s.naming.Addr(binding, id)) {
		if err := unbound(a); err != nil {
			replyText(w, http.StatusInternalServerError, err.Error())
			return
		}
		if a.Status != namer.Pending {
			reply(w, http.StatusOK, contentType, append(write(a), '\n'))
			return
		}
	}
	s.notInTime(w, id, a.Err)
}

// unbound is the reason why a name has no address set; nil where it has one, a failed one too.
func unbound(a namer.Addr) *names.UnboundError {
	var err *names.UnboundError
	if a.Status == namer.Failed && errors.As(a.Err, &err) {
		return err
	}
	return nil
}

// addrMessages are the address sets of a concrete name: how to follow them, and the key under which that is shared. What
// cannot be bound says nothing, as with bind.
func (s *Server) addrMessages(id dtab.Path) (key string, follow func(context.Context, func(message))) {
	return keyOf("addr", id.String()), func(ctx context.Context, set func(message)) {
		t := teller{set: set}
		for a := range watch.Values(ctx, s.naming.Addr(ctx, id)) {
			if a.Status != namer.Pending && unbound(a) == nil {
				t.tellLine(append(wire.Addr(a), '\n'))
			}
		}
	}
}
