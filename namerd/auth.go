package namerd

import (
	"context"
	"net/http"

	"argosy/internal/door"
)

type callerKey struct{}

// admit answers requests that are not let in, and puts who was into the context of the others.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (*http.Request, bool) {
	c, refusal := s.door.Check(r, rawPath(r))
	if refusal != nil {
		refusal.Header(w.Header(), "namerd")
		replyText(w, refusal.Status, refusal.Text)
		return r, false
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c)), true
}

// callerOf is who sends a request.
func callerOf(r *http.Request) (door.Caller, bool) {
	c, ok := r.Context().Value(callerKey{}).(door.Caller)
	return c, ok
}
