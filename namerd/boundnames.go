package namerd

import (
	"context"
	"net/http"
	"time"

	"argosy/namerd/wire"
)

// boundNames answers /api/1/bound-names: the concrete names that the namers can list.
func (s *Server) boundNames(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !s.bindsNames(w) {
		return
	}
	if isTrue(parameter(r, "watch")) {
		s.watch(w, r, "bound-names", typeJSON, keyOf("bound-names"), s.pollBoundNames)
		return
	}
	ctx, cancel := s.waiting(r, nameTimeout)
	defer cancel()
	document, err := s.listNames(ctx)
	if err != nil { // what could be listed may be read for all there is
		replyText(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply(w, http.StatusOK, typeJSON, document)
}

func (s *Server) listNames(ctx context.Context) ([]byte, error) {
	names, err := s.naming.List(ctx)
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = n.String()
	}
	return wire.Line(texts), err
}

// pollBoundNames looks at every interval: the namers do not tell of new names.
func (s *Server) pollBoundNames(ctx context.Context, set func(message)) {
	t := teller{set: set}
	ticker := time.NewTicker(s.namesInterval)
	defer ticker.Stop()
	failing := false
	for {
		asking, cancel := context.WithTimeout(ctx, nameTimeout)
		document, err := s.listNames(asking)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			t.tellLine(document)
		case !failing:
			s.logger.Warn("list bound names failed, the last ones stay", "error", err)
		}
		failing = err != nil
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
