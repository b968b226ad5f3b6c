package namerd

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namerd/wire"
)

// delegateTimeout is how long a delegation may take. It is Namerd's.
const delegateTimeout = 2 * time.Second

// delegate answers /api/1/delegate/<ns>, and without a namespace /api/1/delegate, whatever follows it. As in Namerd a path
// in the query is looked at first, also where the one that counts is in the body; but then it may be left out.
func (s *Server) delegate(w http.ResponseWriter, r *http.Request, rest string) {
	if !s.bindsNames(w) {
		return
	}
	p, ok := s.parametersOf(w, r)
	if !ok {
		return
	}
	ns, named := strings.CutPrefix(rest, "/")
	path, err := p.path()
	if err != nil && (named || r.Method != http.MethodPost || !errors.Is(err, errMissing)) {
		replyText(w, http.StatusBadRequest, err.Error())
		return
	}
	if !named {
		s.delegateAny(w, r, p, path)
		return
	}
	local, _, err := p.dtab()
	if err != nil {
		replyText(w, http.StatusBadRequest, err.Error())
		return
	}
	s.explain(w, r, func(ctx context.Context) (*namer.Explanation, error) {
		return s.naming.Explain(ctx, ns, local, dtab.LeafOf(path))
	})
}

// delegateAny delegates under a table that is part of the request, behind that of a namespace if one is named there.
func (s *Server) delegateAny(w http.ResponseWriter, r *http.Request, p parameters, path dtab.Path) {
	q := delegation{path: path}
	var err error
	switch r.Method {
	case http.MethodGet:
		if q.namespace, q.named, err = p.get("namespace"); err == nil {
			q.dtab, _, err = p.dtab()
		}
	case http.MethodPost:
		if r.Header.Get("Content-Type") != typeJSON {
			replyText(w, http.StatusUnsupportedMediaType, "a delegation is asked for with the Content-Type "+typeJSON)
			return
		}
		body, ok := s.readBody(w, r)
		if !ok {
			return
		}
		done, ok := s.takeTurn(r.Context(), w, len(body))
		if !ok {
			return
		}
		defer done()
		q, err = readDelegation(body)
	default:
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		replyText(w, http.StatusBadRequest, err.Error())
		return
	}
	s.explain(w, r, func(ctx context.Context) (*namer.Explanation, error) {
		if q.named {
			return s.naming.Explain(ctx, q.namespace, q.dtab, dtab.LeafOf(q.path))
		}
		return s.naming.ExplainTable(ctx, q.dtab, dtab.LeafOf(q.path))
	})
}

// delegation is what is asked for without a namespace in the URL.
type delegation struct {
	namespace string
	named     bool
	dtab      dtab.Dtab
	path      dtab.Path
}

// readDelegation reads the body of a POST, or fails with a requestError.
func readDelegation(body []byte) (q delegation, err error) {
	var raw *struct{ Namespace, Dtab, Path *string }
	if err := json.Unmarshal(body, &raw); err != nil || raw == nil || raw.Path == nil {
		return q, &requestError{"Malformed delegation request", errors.New(string(body))}
	}
	if raw.Dtab != nil {
		if q.dtab, err = dtab.Parse(*raw.Dtab); err != nil {
			return q, &requestError{"Invalid dtab", err}
		}
	}
	if q.path, err = dtab.ParsePath(*raw.Path); err != nil {
		return q, &requestError{"Invalid path", err}
	}
	if raw.Namespace != nil {
		q.namespace, q.named = *raw.Namespace, true
	}
	return q, nil
}

// explain answers with a delegation, which has no newline behind it.
func (s *Server) explain(w http.ResponseWriter, r *http.Request, delegate func(context.Context) (*namer.Explanation, error)) {
	ctx, cancel := s.waiting(r, delegateTimeout)
	defer cancel()
	x, err := delegate(ctx)
	switch {
	case ctx.Err() != nil && (err != nil || x.Waiting):
		replyText(w, http.StatusServiceUnavailable, "Request timed out.")
	case err != nil:
		replyText(w, http.StatusInternalServerError, err.Error())
	default:
		body, err := wire.Delegation(x)
		if err != nil {
			replyText(w, http.StatusInternalServerError, err.Error())
			return
		}
		reply(w, http.StatusOK, typeJSON, body)
	}
}
