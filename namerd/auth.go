package namerd

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"

	"argosy/internal/settings"
)

// Token is a secret that a client shows as "Authorization: Bearer <secret>".
type Token struct {
	Name   string // who has it, for the history
	Secret settings.Secret
	Write  bool // else its holder may only read
}

// caller is who was let in, in the context of a request.
type caller struct {
	name  string // empty where nobody is asked who they are
	write bool
}

type callerKey struct{}

// guard decides who is let in. It is replaced, never changed.
type guard struct {
	tokens []Token
	sums   [][sha256.Size]byte // of the secrets, in the order of tokens
	certs  bool                // a certificate is enough, where no token is shown
}

func newGuard(tokens []Token, certs bool) *guard {
	g := &guard{tokens: tokens, certs: certs}
	for _, t := range tokens { // an empty one is refused by the configuration
		g.sums = append(g.sums, sha256.Sum256([]byte(t.Secret.Reveal())))
	}
	return g
}

// SetTokens replaces the tokens that are accepted. Streams that are open go on.
func (s *Server) SetTokens(tokens []Token) { s.guard.Store(newGuard(tokens, s.guard.Load().certs)) }

// token finds the token that a request shows. It takes the same time for every wrong one.
func (g *guard) token(r *http.Request) (found *Token, shown bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return nil, r.Header.Get("Authorization") != ""
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	for i := range g.sums {
		if subtle.ConstantTimeCompare(sum[:], g.sums[i][:]) == 1 {
			found = &g.tokens[i]
		}
	}
	return found, true
}

// identify tells who sends a request, and whether they may.
func (g *guard) identify(r *http.Request) (caller, bool) {
	var c caller
	certified := r.TLS != nil && len(r.TLS.PeerCertificates) > 0 // the handshake has verified it
	if certified {
		c.name = certificateName(r.TLS.PeerCertificates[0])
	}
	switch token, shown := g.token(r); {
	case token != nil:
		return caller{name: token.Name, write: token.Write}, true
	case len(g.tokens) > 0 && (shown || !g.certs || !certified):
		return c, false
	case g.certs && !certified:
		return c, false
	}
	c.write = true
	return c, true
}

// admit answers requests that are not let in, and puts who was into the context of the others.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (*http.Request, bool) {
	if path := rawPath(r); isRead(r) && (path == "/health" || path == "/metrics") {
		return r, true
	}
	if err := s.origin.Check(r); err != nil {
		replyText(w, http.StatusForbidden, fmt.Sprintf("refused, as a web page must not change dtabs: %v", err))
		return r, false
	}
	c, ok := s.guard.Load().identify(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="namerd"`)
		replyText(w, http.StatusUnauthorized, "this namerd wants a token or a certificate that it knows")
		return r, false
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c)), true
}

// certificateName is what a client's certificate calls it: its common name, else its first URI or DNS name.
func certificateName(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	}
	return "a certificate without a name"
}
