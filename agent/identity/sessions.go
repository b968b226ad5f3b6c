package identity

import (
	"crypto/tls"
	"sync"
	"time"

	"argosy/internal/tlsfiles"
)

// sessionEndpoints is how many endpoints' sessions are kept. A session is some KB.
const sessionEndpoints = 1000

// Sessions lets connections of one client resume TLS sessions, which spares the server a signature and both sides the
// certificates. Each endpoint has its own: others seldom know its tickets. Its methods may be called from any goroutine.
type Sessions struct {
	files *tlsfiles.Files
	base  *tls.Config

	mu     sync.Mutex
	byAddr map[string]*tls.Config
}

// Sessions resumes sessions of c, which is one of f's.
func (f *Files) Sessions(c *tls.Config) *Sessions {
	return &Sessions{files: f.files, base: c, byAddr: map[string]*tls.Config{}}
}

// Config is the configuration for connections to the endpoint at addr.
func (s *Sessions) Config(addr string) *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.byAddr[addr]; c != nil {
		return c
	}
	for some := range s.byAddr {
		if len(s.byAddr) < sessionEndpoints {
			break
		}
		delete(s.byAddr, some)
	}
	cache := &sessionCache{files: s.files}
	c := s.base.Clone()
	c.ClientSessionCache = cache
	verify := c.VerifyConnection
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		state := s.files.State()
		if err := verify(cs); err != nil || cs.DidResume {
			return err
		}
		cache.verified(state, cs)
		return nil
	}
	s.byAddr[addr] = c
	return c
}

// sessionCache has the newest session with one endpoint. It gives a session away only while the certificates that were
// verified for it last and our own files are the same: a server that is resumed shows no certificate, and takes us for who
// we were then. VerifyConnection would refuse what has ended, but the connection would be lost.
type sessionCache struct {
	files *tlsfiles.Files

	mu      sync.Mutex
	session *tls.ClientSessionState
	state   *tlsfiles.State
	until   time.Time
}

func (c *sessionCache) verified(state *tlsfiles.State, cs tls.ConnectionState) {
	until := cs.PeerCertificates[0].NotAfter
	for _, cert := range cs.PeerCertificates[1:] {
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.state, c.until = nil, state, until
}

// Get is that of tls.ClientSessionCache.
func (c *sessionCache) Get(string) (*tls.ClientSessionState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || c.state != c.files.State() || !time.Now().Before(c.until) {
		c.session = nil
		return nil, false
	}
	return c.session, true
}

// Put is that of tls.ClientSessionCache.
func (c *sessionCache) Put(_ string, session *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session
}
