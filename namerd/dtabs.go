package namerd

import (
	"bytes"
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
	maxBody     = 5 << 20   // bytes: the largest body that is read, about what Namerd takes
	largeBody   = 256 << 10 // bytes: from here on bodies wait for each other
	largePlaces = 16        // so many of them are read at a time
	largeTurns  = 2         // and so many worked on
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
	switch r.Method {
	case http.MethodGet:
		if isTrue(parameter(r, "watch")) {
			s.watchTable(w, r, ns)
			return
		}
		s.get(w, r, ns)
	case http.MethodHead:
		s.get(w, r, ns)
	case http.MethodPost:
		s.create(w, r, ns)
	case http.MethodPut:
		s.put(w, r, ns)
	case http.MethodDelete:
		s.delete(w, r, ns)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// storing is the context of what the store is asked for a request, whose body has been read.
func (s *Server) storing(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	return s.withAuthor(ctx, r), cancel
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, ns string) {
	ctx, cancel := s.storing(r)
	defer cancel()
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

func (s *Server) create(w http.ResponseWriter, r *http.Request, ns string) {
	if s.refused(w, r) {
		return
	}
	body, done, ok := s.readBody(w, r)
	if !ok {
		return
	}
	defer done()
	ctx, cancel := s.storing(r)
	defer cancel()
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

func (s *Server) put(w http.ResponseWriter, r *http.Request, ns string) {
	if s.refused(w, r) {
		return
	}
	body, done, ok := s.readBody(w, r)
	if !ok {
		return
	}
	defer done()
	ctx, cancel := s.storing(r)
	defer cancel()
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

func (s *Server) delete(w http.ResponseWriter, r *http.Request, ns string) {
	if s.refused(w, r) {
		return
	}
	ctx, cancel := s.storing(r)
	defer cancel()
	s.done(w, r, ns, "delete", nil, s.store.Delete(ctx, ns))
}

// refused answers a request that may not change anything, or says why it does in a way that cannot be kept.
func (s *Server) refused(w http.ResponseWriter, r *http.Request) bool {
	c, known := callerOf(r)
	if s.readOnly.Load() {
		replyText(w, http.StatusForbidden, "this namerd is read-only")
		return true
	}
	if known && !c.Write {
		replyText(w, http.StatusForbidden, fmt.Sprintf("token %q may only read", c.Name))
		return true
	}
	if problem := badMessage(r); problem != "" {
		replyText(w, http.StatusBadRequest, problem)
		return true
	}
	return false
}

// errBusy: other large bodies are being read or worked on.
var errBusy = errors.New("too many large dtabs are being written")

// readBody reads a body and takes its turn; done gives that back, when the body is not needed any more. Large ones are
// read few at a time, so that many of them do not fill the memory, and then become tables one or two at a time, each of
// which may take a hundred times its size for a moment.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (body []byte, done func(), ok bool) {
	var taken []chan struct{}
	done = func() {
		for _, places := range taken {
			<-places
		}
	}
	ok = s.reading(w, r, "a dtab", maxBody, func(from io.Reader) error {
		var b bytes.Buffer
		if n, err := b.ReadFrom(io.LimitReader(from, largeBody)); err != nil || n < largeBody {
			body = b.Bytes()
			return err
		}
		ctx, cancel := s.waiting(r, storeTimeout)
		defer cancel()
		if !take(ctx, s.places) {
			return errBusy
		}
		taken = append(taken, s.places)
		b.Grow(int(max(0, min(r.ContentLength, maxBody)-largeBody)) + bytes.MinRead)
		if _, err := b.ReadFrom(from); err != nil {
			return err
		}
		body = b.Bytes()
		if !take(ctx, s.turns) {
			return errBusy
		}
		taken = append(taken, s.turns)
		return nil
	})
	if !ok {
		done()
	}
	return body, done, ok
}

func take(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// reading lets read have the body, and answers the request if that fails or there is more than limit bytes.
func (s *Server) reading(w http.ResponseWriter, r *http.Request, what string, limit int64, read func(io.Reader) error) bool {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a writer of which that cannot be asked, as in tests, is not stuck
	defer context.AfterFunc(s.stopping, func() { control.SetReadDeadline(time.Now().Add(stuckGrace)) })()
	err := read(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		replyText(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("%s has at most %d bytes", what, limit))
	case errors.Is(err, errBusy):
		replyText(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	default:
		control.SetReadDeadline(time.Time{}) // the connection may serve other requests later
	}
	return err == nil
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
