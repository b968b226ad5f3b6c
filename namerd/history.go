package namerd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/namerd/store"
	"argosy/namerd/wire"
)

// The routes that Namerd does not have.
const (
	historyPath  = "/api/1/history/"
	rollbackPath = "/api/1/rollback/"
)

// change is one change as the API shows it.
type change struct {
	Version  string    `json:"version"` // as an ETag
	Time     time.Time `json:"time"`
	Action   string    `json:"action"`
	By       string    `json:"by"`
	Verified bool      `json:"verified"`
	Address  string    `json:"address"`
	Message  string    `json:"message"`
	Exists   bool      `json:"exists"`
	Dtab     dtab.Dtab `json:"dtab"`
}

// history answers GET /api/1/history/<ns>?limit=N. A 404 has a text, which tells it from a Namerd without the route.
func (s *Server) history(w http.ResponseWriter, r *http.Request, ns string) {
	if !isRead(r) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	limit := 0
	if text := parameter(r, "limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			replyText(w, http.StatusBadRequest, fmt.Sprintf("limit %q is no number above 0", text))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	changes, ok := s.changes(ctx, w, r, ns, limit)
	if !ok {
		return
	}
	shown := make([]change, len(changes))
	for i, c := range changes {
		shown[i] = change{
			Version: etag(c.Version), Time: c.At, Action: c.Action, By: c.Author.Name, Verified: c.Author.Verified,
			Address: c.Author.Address, Message: c.Author.Message, Exists: c.Exists, Dtab: c.Dtab,
		}
	}
	reply(w, http.StatusOK, typeJSON, wire.Line(shown))
}

// changes asks the store, and answers the request where there is nothing to be had.
func (s *Server) changes(ctx context.Context, w http.ResponseWriter, r *http.Request, ns string, limit int) ([]store.Change, bool) {
	h, ok := s.store.(store.Historian)
	if !ok {
		replyText(w, http.StatusNotImplemented, store.ErrNoHistory.Error())
		return nil, false
	}
	changes, err := h.History(ctx, ns, limit)
	switch {
	case errors.Is(err, store.ErrMissing):
		replyText(w, http.StatusNotFound, store.ErrMissing.Error())
	case errors.Is(err, store.ErrNoHistory): // a namerd behind this one has none
		replyText(w, http.StatusNotImplemented, store.ErrNoHistory.Error())
	case err != nil:
		s.failed(w, r, ns, err)
	}
	return changes, err == nil
}

// rollback answers POST /api/1/rollback/<ns>?version=<base64>: the table of that version is written again, as a new
// version, if what is there is still what is there now, or the version that If-Match names.
func (s *Server) rollback(w http.ResponseWriter, r *http.Request, ns string) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if s.refused(w, r) {
		return
	}
	text := parameter(r, "version")
	// A + of base64 that was not encoded has become a space on its way.
	version, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, " ", "+"))
	if err != nil || text == "" {
		replyText(w, http.StatusBadRequest, fmt.Sprintf("version %q is no version: take one from the history, where they are base64", text))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	changes, ok := s.changes(ctx, w, r, ns, 0)
	if !ok {
		return
	}
	var found *store.Change
	for i := range changes {
		if c := &changes[i]; c.Exists && string(c.Version) == string(version) {
			found = c
			break
		}
	}
	if found == nil {
		replyText(w, http.StatusNotFound, store.ErrForgotten.Error())
		return
	}
	author := s.author(r)
	author.Action = store.ActionRollback
	if author.Message == "" {
		author.Message = "to version " + etag(found.Version)
	}
	s.done(w, r, ns, store.ActionRollback, found.Dtab, s.restore(store.WithAuthor(ctx, author), r, ns, found.Dtab))
}

// restore writes a table in place of the one that If-Match names, or else of the one that is there now, be it none.
func (s *Server) restore(ctx context.Context, r *http.Request, ns string, table dtab.Dtab) error {
	if conditions, conditional := r.Header["If-Match"]; conditional {
		version, err := decodeVersion(conditions[0])
		if err != nil {
			return store.ErrVersion
		}
		return s.store.Update(ctx, ns, table, version)
	}
	entry, err := s.store.Get(ctx, ns)
	var syntax *dtab.SyntaxError
	switch {
	case errors.Is(err, store.ErrMissing):
		err = s.store.Create(ctx, ns, table)
		if errors.Is(err, store.ErrExists) {
			err = store.ErrVersion
		}
		return err
	case errors.As(err, &syntax): // what does not parse is what a rollback is for
		return s.store.Put(ctx, ns, table)
	case err != nil:
		return err
	}
	return s.store.Update(ctx, ns, table, entry.Version)
}
