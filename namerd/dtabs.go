package namerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"argosy/dtab"
	"argosy/namerd/store"
)

const (
	maxBody    = 5 << 20   // bytes: the largest body that is read, about what Namerd takes
	largeBody  = 256 << 10 // bytes: from here on bodies wait for each other
	largeTurns = 2         // so many of them at a time
)

// list answers /api/1/dtabs, for every method as Namerd does.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	if isTrue(parameter(r, "watch")) && r.Method != http.MethodHead {
		s.watchNames(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	names, err := s.store.List(ctx)
	if err != nil {
		s.failed(w, r, "", err)
		return
	}
	reply(w, http.StatusOK, typeJSON, namesDocument(names))
}

// namespace answers /api/1/dtabs/<ns>.
func (s *Server) namespace(w http.ResponseWriter, r *http.Request, ns string) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	ctx = s.withAuthor(ctx, r)
	switch r.Method {
	case http.MethodGet:
		if isTrue(parameter(r, "watch")) {
			s.watchTable(w, r, ns)
			return
		}
		s.get(ctx, w, r, ns)
	case http.MethodHead:
		s.get(ctx, w, r, ns)
	case http.MethodPost:
		s.create(ctx, w, r, ns)
	case http.MethodPut:
		s.put(ctx, w, r, ns)
	case http.MethodDelete:
		s.delete(ctx, w, r, ns)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *Server) get(ctx context.Context, w http.ResponseWriter, r *http.Request, ns string) {
	entry, err := s.store.Get(ctx, ns)
	if err != nil {
		s.failed(w, r, ns, err)
		return
	}
	w.Header()["ETag"] = []string{etag(entry.Version)} // not canonicalized to Etag
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	contentType := accepted(r)
	reply(w, http.StatusOK, contentType, document(contentType, entry.Dtab))
}

func (s *Server) create(ctx context.Context, w http.ResponseWriter, r *http.Request, ns string) {
	if s.refused(w, r) {
		return
	}
	body, ok := s.readBody(w, r)
	if !ok {
		return
	}
	done, ok := s.takeTurn(ctx, w, len(body))
	if !ok {
		return
	}
	defer done()
	table, err := decode(r, body)
	switch {
	case errors.Is(err, errNullEntry):
		replyText(w, http.StatusBadRequest, fmt.Sprintf("The dtab contains invalid dentries: %s", body))
		return
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.done(w, r, ns, "create", table, s.store.Create(ctx, ns, table))
}

func (s *Server) put(ctx context.Context, w http.ResponseWriter, r *http.Request, ns string) {
	if s.refused(w, r) {
		return
	}
	body, ok := s.readBody(w, r)
	if !ok {
		return
	}
	done, ok := s.takeTurn(ctx, w, len(body))
	if !ok {
		return
	}
	defer done()
	table, err := decode(r, body)
	var syntax *dtab.SyntaxError
	switch {
	case errors.Is(err, errContentType):
		replyText(w, http.StatusBadRequest, fmt.Sprintf("Invalid Content-Type \"%s\". ", r.Header.Get("Content-Type")))
		return
	case errors.As(err, &syntax) && !isJSON(r):
		replyText(w, http.StatusBadRequest, syntax.Error())
		return
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	conditions, conditional := r.Header["If-Match"]
	if !conditional {
		s.done(w, r, ns, "put", table, s.store.Put(ctx, ns, table))
		return
	}
	version, err := decodeVersion(conditions[0])
	if err != nil { // it can match nothing, as a weak ETag must not
		s.failed(w, r, ns, store.ErrVersion)
		return
	}
	s.done(w, r, ns, "update", table, s.store.Update(ctx, ns, table, version))
}

func (s *Server) delete(ctx context.Context, w http.ResponseWriter, r *http.Request, ns string) {
	if !s.refused(w, r) {
		s.done(w, r, ns, "delete", nil, s.store.Delete(ctx, ns))
	}
}

// refused answers a request that may not change anything, or says why it does in a way that cannot be kept.
func (s *Server) refused(w http.ResponseWriter, r *http.Request) bool {
	c, known := r.Context().Value(callerKey{}).(caller)
	if s.readOnly.Load() {
		replyText(w, http.StatusForbidden, "this namerd is read-only")
		return true
	}
	if known && !c.write {
		replyText(w, http.StatusForbidden, fmt.Sprintf("token %q may only read", c.name))
		return true
	}
	if problem := badMessage(r); problem != "" {
		replyText(w, http.StatusBadRequest, problem)
		return true
	}
	return false
}

func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a writer of which that cannot be asked, as in tests, is not stuck
	defer context.AfterFunc(s.stopping, func() { control.SetReadDeadline(time.Now().Add(stuckGrace)) })()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		replyText(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a dtab has at most %d bytes", maxBody))
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	default:
		control.SetReadDeadline(time.Time{}) // the connection may serve other requests later
	}
	return body, err == nil
}

// takeTurn lets few large bodies become tables at a time, each of which may take a hundred times its size for a moment.
func (s *Server) takeTurn(ctx context.Context, w http.ResponseWriter, size int) (done func(), ok bool) {
	if size < largeBody {
		return func() {}, true
	}
	select {
	case s.turns <- struct{}{}:
		return func() { <-s.turns }, true
	case <-ctx.Done():
		replyText(w, http.StatusServiceUnavailable, "too many large dtabs are being written")
		return nil, false
	}
}

// done answers a change.
func (s *Server) done(w http.ResponseWriter, r *http.Request, ns, action string, table dtab.Dtab, err error) {
	if err != nil {
		s.failed(w, r, ns, err)
		return
	}
	s.logger.Info("dtab changed", "namespace", ns, "action", action, "entries", len(table), "by", s.author(r).Name, "address", r.RemoteAddr)
	select {
	case s.poke <- struct{}{}:
	default:
	}
	w.WriteHeader(http.StatusNoContent)
}

// failed answers what the store has refused.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, ns string, err error) {
	switch {
	case errors.Is(err, store.ErrMissing):
		w.WriteHeader(http.StatusNotFound)
	case errors.Is(err, store.ErrExists):
		w.WriteHeader(http.StatusConflict)
	case errors.Is(err, store.ErrVersion):
		w.WriteHeader(http.StatusPreconditionFailed)
	case errors.Is(err, store.ErrLarge):
		replyText(w, http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, store.ErrReadOnly):
		replyText(w, http.StatusForbidden, err.Error())
	case errors.Is(err, store.ErrName):
		replyText(w, http.StatusBadRequest, err.Error())
	default:
		s.logger.Warn("request failed", "method", r.Method, "namespace", ns, "error", err)
		if r.Context().Err() == nil {
			replyText(w, http.StatusInternalServerError, err.Error())
		}
	}
}
