package namerd

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"time"

	"argosy/internal/watch"
	"argosy/namerd/store"
)

// watchTable streams a namespace: one document for each of its states. While the store is in trouble the stream is
// silent; what was sent last stands.
func (s *Server) watchTable(w http.ResponseWriter, r *http.Request, ns string) {
	if err := store.CheckName(ns); err != nil {
		s.failed(w, r, ns, err)
		return
	}
	contentType, showAbsent := accepted(r), isTrue(parameter(r, "absent"))
	key := keyOf("dtab", ns, contentType)
	if showAbsent {
		key = keyOf("dtab", ns, contentType, "absent")
	}
	s.watch(w, r, "dtab", contentType, key, func(ctx context.Context, set func(message)) {
		s.followTable(ctx, ns, contentType, showAbsent, set)
	})
}

func (s *Server) followTable(ctx context.Context, ns, contentType string, showAbsent bool, set func(message)) {
	value, release := s.tables.Read(ns)
	defer release()
	t := teller{set: set}
	for o := range watch.Values(ctx, value) {
		switch {
		case !o.Known:
		case o.Exists:
			key := keyOf("version", string(o.Entry.Version))
			if t.last.key != key { // else it is about trouble of the store
				t.tell(key, document(contentType, o.Entry.Dtab))
			}
		case showAbsent:
			t.tell("absent", []byte("null\n"))
		default:
			t.tell("absent", nil)
		}
	}
}

// nameList is the names of all namespaces.
type nameList struct {
	known bool
	names []string
}

func (l nameList) equal(m nameList) bool { return l.known == m.known && slices.Equal(l.names, m.names) }

func (s *Server) watchNames(w http.ResponseWriter, r *http.Request) {
	s.watch(w, r, "dtabs", typeJSON, keyOf("dtabs"), func(ctx context.Context, set func(message)) {
		value, release := s.names.Read("")
		defer release()
		t := teller{set: set}
		for l := range watch.Values(ctx, value) {
			if l.known {
				t.tellLine(namesDocument(l.names))
			}
		}
	})
}

// pollNames looks for new and removed names: at once after a change through this server, else at every interval, which
// is how changes behind its back are seen.
func (s *Server) pollNames(ctx context.Context, interval time.Duration, set func(nameList)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, storeTimeout)
		names, err := s.store.List(asking)
		cancel()
		if err == nil {
			set(nameList{known: true, names: names})
		} else if ctx.Err() == nil {
			s.logger.Warn("list namespaces failed", "error", err)
		}
		select {
		case <-ticker.C:
		case <-s.poke:
		case <-ctx.Done():
			return
		}
	}
}

// watch streams what follow sets. Streams with one key share one follow.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, route, contentType, key string, follow func(context.Context, func(message))) {
	value, release := s.messages.ReadBy(key, follow)
	defer release()
	s.stream(w, r, route, contentType, func(ctx context.Context) iter.Seq[[]byte] { return documents(ctx, value) })
}

// stream sends the head at once, then all documents, until the reader goes away, takes none for too long, or the server
// stops. An empty content type sends none. A body is read first, as net/http does before it sends a head, but without a
// limit to its patience.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, route, contentType string, all func(context.Context) iter.Seq[[]byte]) {
	if r.ContentLength != 0 {
		if _, ok := s.readBody(w, r); !ok {
			return
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()

	s.metrics.watchers.WithLabelValues(route).Inc()
	defer s.metrics.watchers.WithLabelValues(route).Dec()

	control := http.NewResponseController(w)
	defer context.AfterFunc(s.stopping, func() { control.SetWriteDeadline(time.Now().Add(stuckGrace)) })()
	send := func(message []byte) bool {
		if control.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return false
		}
		if s.stopping.Err() != nil { // just now, perhaps
			control.SetWriteDeadline(time.Now().Add(stuckGrace))
		}
		if _, err := w.Write(message); err != nil || control.Flush() != nil {
			return false
		}
		if s.stopping.Err() != nil { // there are none, and the end of the stream is still to be written
			return false
		}
		return control.SetWriteDeadline(time.Time{}) == nil // the connection may serve other requests later
	}
	setType(w, contentType)
	w.WriteHeader(http.StatusOK)
	if control.Flush() != nil {
		return
	}
	for document := range all(ctx) {
		if !send(document) {
			return
		}
	}
}
