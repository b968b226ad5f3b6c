package namerd

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"argosy/namerd/store"
)

// messageHeader has a sentence that says why something is changed, for the history.
const messageHeader = "X-Argosy-Message"

// Bounds of what a client says about itself, in bytes.
const (
	maxMessage = 1000
	maxFrom    = 200
)

// author is who sends a request: the name that has been verified, else the one that the header From claims.
func (s *Server) author(r *http.Request) store.Author {
	a := store.Author{Address: r.RemoteAddr, Message: strings.TrimSpace(r.Header.Get(messageHeader))}
	if c, ok := callerOf(r); ok && c.Name != "" {
		a.Name, a.Verified = c.Name, true
	} else if from := strings.TrimSpace(r.Header.Get("From")); printable(from, maxFrom) {
		a.Name = from
	}
	return a
}

// withAuthor hands the author of a request on to the store.
func (s *Server) withAuthor(ctx context.Context, r *http.Request) context.Context {
	return store.WithAuthor(ctx, s.author(r))
}

// badMessage tells what is wrong with the message of a request; "" if nothing is.
func badMessage(r *http.Request) string {
	if printable(strings.TrimSpace(r.Header.Get(messageHeader)), maxMessage) {
		return ""
	}
	return fmt.Sprintf("%s has more than %d bytes, control characters, or is no UTF-8", messageHeader, maxMessage)
}

// printable reports whether s may stand in logs and histories.
func printable(s string, longest int) bool {
	return len(s) <= longest && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}
