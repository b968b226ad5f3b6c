package namerd

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/namerd/store"
)

const explainPath = "/api/1/explain"

// explainTimeout is how long a name is waited for; what is not known then is shown as such.
const explainTimeout = 2 * time.Second

// explain answers /api/1/explain/<ns>?path=&dtab= with an explanation.Explanation: what delegate tells, and more. Names
// that cannot be delegated are a good answer too.
func (s *Server) explain(w http.ResponseWriter, r *http.Request, ns string) {
	if s.binds == nil {
		replyText(w, http.StatusNotImplemented, "this namerd binds no names")
		return
	}
	if !store.ValidName(ns) {
		s.failed(w, r, ns, fmt.Errorf("%w: %q", store.ErrName, ns))
		return
	}
	path, err := dtab.ParsePath(parameter(r, "path"))
	if err != nil {
		replyText(w, http.StatusBadRequest, fmt.Sprintf("Invalid path: %s / %v", parameter(r, "path"), err))
		return
	}
	local, err := dtab.Parse(parameter(r, "dtab"))
	if err != nil {
		replyText(w, http.StatusBadRequest, fmt.Sprintf("Invalid dtab: %v", err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
	defer cancel()
	table, release := s.binds.Table(ns)
	defer release()
	var answer *explanation.Explanation
	if x, err := s.binds.Explain(ctx, ns, local, dtab.LeafOf(path)); err != nil {
		answer = explanation.Broken(path, err, time.Now())
	} else {
		answer = explanation.Of(path, x, len(local), time.Now())
	}
	answer.Namespace = ns
	switch o, _ := table.Load(); {
	case o.Err != nil && o.Known:
		answer.Trouble = "the table's store is in trouble, this is the last table known: " + o.Err.Error()
	case o.Known && !o.Exists:
		answer.Trouble = "there is no namespace " + ns + ": its table is empty"
	}
	reply(w, http.StatusOK, typeJSON, jsonLine(answer))
}
