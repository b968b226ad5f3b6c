package namerd

import (
	"context"
	"net/http"
	"slices"
	"time"

	"argosy/internal/watch"
	"argosy/namerd/store"
)

// watchTable streams a namespace: one document for each of its states. A reader that is slow misses states, never the
// newest. While the store is in trouble the stream is silent; what was sent last stands.
func (s *Server) watchTable(w http.ResponseWriter, r *http.Request, ns string) {
	if !store.ValidName(ns) {
		s.failed(w, r, ns, store.ErrName)
		return
	}
	contentType := accepted(r)
	showAbsent := isTrue(parameter(r, "absent"))
	value, release := s.tables.Read(ns)
	defer release()
	first := true
	var last store.Observation
	stream(s, w, r, "dtab", contentType, value, func(o store.Observation) []byte {
		if !o.Known || !first && o.Exists == last.Exists && o.Entry.Version == last.Entry.Version {
			return nil
		}
		first, last = false, o
		switch {
		case o.Exists:
			return document(contentType, o.Entry.Dtab)
		case showAbsent:
			return []byte("null\n")
		}
		return nil
	})
}

// nameList is the names of all namespaces.
type nameList struct {
	known bool
	names []string
}

func (l nameList) equal(m nameList) bool { return l.known == m.known && slices.Equal(l.names, m.names) }

func (s *Server) watchNames(w http.ResponseWriter, r *http.Request) {
	value, release := s.names.Read("")
	defer release()
	stream(s, w, r, "dtabs", typeJSON, value, func(l nameList) []byte {
		if !l.known {
			return nil
		}
		return namesDocument(l.names)
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

// stream sends the head at once, then what render makes of every value that is not nil, until the reader goes away or
// the server stops.
func stream[T any](s *Server, w http.ResponseWriter, r *http.Request, route, contentType string, value watch.Reader[T], render func(T) []byte) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()

	s.metrics.watchers.WithLabelValues(route).Inc()
	defer s.metrics.watchers.WithLabelValues(route).Dec()

	control := http.NewResponseController(w)
	send := func(message []byte) bool {
		if control.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return false
		}
		if _, err := w.Write(message); err != nil || control.Flush() != nil {
			return false
		}
		return control.SetWriteDeadline(time.Time{}) == nil // the connection may serve other requests later
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	if control.Flush() != nil {
		return
	}
	for v := range watch.Values(ctx, value) {
		if message := render(v); message != nil && !send(message) {
			return
		}
	}
}
