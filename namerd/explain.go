package namerd

import (
	"net/http"
	"time"

	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/namerd/wire"
)

const explainPath = "/api/1/explain"

// explainTimeout is how long a name is waited for; what is not known then is shown as such.
const explainTimeout = 2 * time.Second

// explainName answers /api/1/explain/<ns>?path=&dtab= with an explanation.Explanation: what delegate tells, and more. That
// a name cannot be delegated is a good answer, too.
func (s *Server) explainName(w http.ResponseWriter, r *http.Request, q nameRequest) {
	ctx, cancel := s.waiting(r, explainTimeout)
	defer cancel()
	table, release := s.naming.Table(q.ns)
	defer release()
	x, err := s.naming.Explain(ctx, q.ns, q.local, dtab.LeafOf(q.path))
	var answer *explanation.Explanation
	if err != nil {
		answer = explanation.Broken(q.path, err, time.Now())
	} else {
		answer = explanation.Of(q.path, x, len(q.local), time.Now())
	}
	answer.Namespace = q.ns
	switch o, _ := table.Load(); {
	case o.Err != nil && o.Known:
		answer.Trouble = "the table's store is in trouble, this is the last table known: " + o.Err.Error()
	case o.Known && !o.Exists:
		answer.Trouble = "there is no namespace " + q.ns + ": its table is empty"
	}
	reply(w, http.StatusOK, typeJSON, wire.Line(answer))
}
