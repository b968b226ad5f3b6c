package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"argosy/internal/tlsfiles"
	"argosy/internal/watch"
)

// Judge is an identity that says of clients that have been let in whether they may stay. Its methods may be called from
// any goroutine.
type Judge interface {
	// Judge returns nil for a client that may stay. An ErrNotReady says that it is not known. A certificate that has ended
	// since the client was let in is no reason against it.
	Judge(*Peer) error
	// Changed is a number that grows whenever Judge may say something else than before.
	Changed() watch.Reader[uint64]
}

// Peer is a client that has been let in, as far as it takes to judge it again. It is good for all connections with the
// same certificates. It may be used from any goroutine.
type Peer struct {
	name  string
	certs []*x509.Certificate // as the client sent them; crypto/tls holds them, too
	at    time.Time           // when the client was let in, and its certificates were valid

	mu       sync.Mutex
	verified *x509.CertPool // the roots that err is about; nil: none yet
	anchor   rootSum        // the root that the certificates lead to, where they are good
	err      error
}

// rootSum is the SHA-256 of a root's DER.
type rootSum [sha256.Size]byte

// NewPeer is the client of a connection that was let in at a time. It has to have shown a certificate.
func NewPeer(s tls.ConnectionState, at time.Time) *Peer {
	return &Peer{name: PeerName(s), certs: s.PeerCertificates, at: at}
}

// Name is PeerName of its connections.
func (p *Peer) Name() string { return p.name }

// Covered returns an error unless the client has one of the SPIFFE ids, as in ServerOptions.ClientIDs.
func (p *Peer) Covered(ids []string) error { return permit(p.certs[0], ids) }

// PeerKey is the same for connections whose clients have shown the same certificates.
func PeerKey(s tls.ConnectionState) [sha256.Size]byte {
	h := sha256.New()
	for _, c := range s.PeerCertificates {
		h.Write(c.Raw) // DER says how long it is
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// verify checks that the certificates lead to a root. That costs signatures, which are not looked at again as long as the
// root that they led to is one, by sums: where a root is added, as in a rotation, any number of clients are judged at once.
func (p *Peer) verify(roots *x509.CertPool, sums map[rootSum]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if roots == p.verified {
		return p.err
	}
	p.verified, p.err = roots, nil
	if sums[p.anchor] {
		return nil
	}
	p.anchor = rootSum{}
	if chains, err := tlsfiles.ChainsAt(p.at, p.certs, roots, x509.ExtKeyUsageClientAuth); err != nil {
		p.err = fmt.Errorf("%w: %w", ErrPeer, err)
	} else {
		p.anchor = sha256.Sum256(chains[0][len(chains[0])-1].Raw)
	}
	return p.err
}

// Judge implements Judge, by the roots and intentions of now.
func (c *Connect) Judge(p *Peer) error {
	t := c.trust.Value()
	if t == nil {
		return c.noRoots()
	}
	source, roots, err := t.member(p.certs[0], true, c.now())
	if err != nil {
		return err
	}
	if err := p.verify(roots, t.sumsOf(roots)); err != nil {
		return err
	}
	r := c.rules.Value()
	if _, ruled := r.first(source.Service); !r.known || !ruled && !r.defaultKnown {
		return c.noIntentions()
	}
	return c.permit(source)
}

// Judge implements Judge, by the CA file of now.
func (f *Files) Judge(p *Peer) error {
	roots := f.files.Roots()
	if roots == nil { // clients are not asked who they are
		return nil
	}
	return p.verify(roots, nil)
}

// Changed grows with every other CA file.
func (f *Files) Changed() watch.Reader[uint64] { return f.changed }
