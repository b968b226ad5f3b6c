// Package tlsfiles holds certificates, keys, OCSP responses and roots from files, which are read again when they change.
package tlsfiles

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// freshness is for how long Files that look for changes by themselves do not look again.
const freshness = 5 * time.Second

// Pair are the paths of a certificate chain and its key (PEM), and of an OCSP response about it (DER), which may be empty.
type Pair struct{ Cert, Key, OCSP string }

// Files are certificates with their keys, and roots; any of them may be missing. Its methods may be called from any
// goroutine.
type Files struct {
	pairs []Pair
	ca    string // empty: none
	state atomic.Pointer[State]

	logger  hclog.Logger
	looking sync.Mutex
	looked  time.Time
	failing bool
}

// State is what the files said when they were last good. It is never changed; another one is in force after a change.
type State struct {
	Roots   *x509.CertPool // nil: no file was given
	RootsID [32]byte       // the SHA-256 of that file

	certs  []*certificate
	byName map[string][]int // indexes into certs, in order, by a certificate's DNS names in lower case
	ca     []byte
}

// certificate is one of a State.
type certificate struct {
	raw    [3][]byte // certificate, key, OCSP response
	cert   *tls.Certificate
	staple *staple // nil: none
}

// New reads the files. Empty names stand for none; a certificate needs a key, and a key a certificate.
func New(certFile, keyFile, caFile string) (*Files, error) {
	if certFile == "" && keyFile == "" {
		return NewPairs(nil, caFile)
	}
	return NewPairs([]Pair{{Cert: certFile, Key: keyFile}}, caFile)
}

// NewPairs reads the files of several certificates. The first one is for whom no other is meant.
func NewPairs(pairs []Pair, caFile string) (*Files, error) {
	for _, p := range pairs {
		if p.Cert == "" || p.Key == "" {
			return nil, errors.New("TLS files: a certificate needs a key, and a key a certificate")
		}
	}
	f := &Files{pairs: pairs, ca: caFile, logger: hclog.NewNullLogger(), looked: time.Now()}
	f.state.Store(&State{certs: make([]*certificate, len(pairs))})
	if _, err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// SetLogger makes Files that look for changes by themselves log what they find. It is called before they are used.
func (f *Files) SetLogger(l hclog.Logger) { f.logger = l }

// Reload takes those files over that have changed and are good. A certificate whose files do not go together, as in the
// middle of a replacement, stays as it is, and so do roots that cannot be read; the error tells of all such.
func (f *Files) Reload() (changed bool, err error) {
	old := f.state.Load()
	s := &State{Roots: old.Roots, RootsID: old.RootsID, ca: old.ca, certs: make([]*certificate, len(f.pairs))}
	var failed []error
	for i, p := range f.pairs {
		c, err := readPair(p, old.certs[i])
		if err != nil {
			failed = append(failed, fmt.Errorf("TLS files: %w", err))
		}
		s.certs[i] = c
		changed = changed || c != old.certs[i]
	}
	if f.ca != "" {
		another, err := s.readRoots(f.ca)
		if err != nil {
			failed = append(failed, fmt.Errorf("TLS files: %w", err))
		}
		changed = changed || another
	}
	if changed && !slices.Contains(s.certs, nil) { // nil: the first time, and that has failed
		s.index()
		f.state.Store(s)
	}
	return changed, errors.Join(failed...)
}

// readPair reads a certificate. It returns old where nothing has changed or can be used. An error may come with a new
// certificate whose OCSP response is of no use.
func readPair(p Pair, old *certificate) (*certificate, error) {
	c := &certificate{}
	for i, path := range []string{p.Cert, p.Key} {
		var err error
		if c.raw[i], err = os.ReadFile(path); err != nil {
			return old, err
		}
	}
	if old != nil && bytes.Equal(c.raw[0], old.raw[0]) && bytes.Equal(c.raw[1], old.raw[1]) {
		c.cert, c.staple, c.raw[2] = old.cert, old.staple, old.raw[2]
	} else {
		cert, err := tls.X509KeyPair(c.raw[0], c.raw[1])
		if err != nil {
			return old, fmt.Errorf("%s with %s: %w", p.Cert, p.Key, err)
		}
		c.cert = &cert
	}
	same := old != nil && c.cert == old.cert
	if p.OCSP != "" {
		der, err := os.ReadFile(p.OCSP)
		if err == nil && same && bytes.Equal(der, old.raw[2]) {
			return old, nil
		}
		var s *staple
		if err == nil {
			if s, err = newStaple(der, c.cert); err != nil {
				err = fmt.Errorf("%s for %s: %w", p.OCSP, p.Cert, err)
			}
		}
		if err != nil {
			if same {
				return old, err
			}
			return c, err
		}
		c.raw[2], c.staple = der, s
		return c, nil
	}
	if same {
		return old, nil
	}
	return c, nil
}

// readRoots reads the roots, and reports whether they are others than before.
func (s *State) readRoots(path string) (changed bool, err error) {
	raw, err := os.ReadFile(path)
	if err != nil || bytes.Equal(raw, s.ca) && s.Roots != nil {
		return false, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(raw) {
		return false, fmt.Errorf("%s has no certificate in it", path)
	}
	s.Roots, s.RootsID, s.ca = roots, sha256.Sum256(raw), raw
	return true, nil
}

// State is the newest good state.
func (f *Files) State() *State { return f.state.Load() }

// Certificate is the newest good one of the first certificate, nil if there is none.
func (f *Files) Certificate() *tls.Certificate { return f.state.Load().first() }

// Certificates calls do with the file and the newest good one of each certificate.
func (f *Files) Certificates(do func(file string, cert *x509.Certificate)) {
	for i, c := range f.state.Load().certs {
		do(f.pairs[i].Cert, c.cert.Leaf)
	}
}

// Roots are the newest good roots, nil if no file was given.
func (f *Files) Roots() *x509.CertPool { return f.state.Load().Roots }

// HasRoots reports whether a file of roots was given.
func (f *Files) HasRoots() bool { return f.ca != "" }

// fresh looks for changes, unless that was done a moment ago. What cannot be used leaves things as they are: a
// handshake must not fail because a file is just being replaced.
func (f *Files) fresh() *State {
	if !f.looking.TryLock() {
		return f.state.Load()
	}
	defer f.looking.Unlock()
	if time.Since(f.looked) < freshness {
		return f.state.Load()
	}
	f.looked = time.Now()
	changed, err := f.Reload()
	if err != nil && !f.failing {
		f.logger.Warn("changed TLS files cannot be used: the old ones stay in use", "error", err)
	}
	if changed {
		f.logger.Info("read changed TLS files")
	}
	f.failing = err != nil
	return f.state.Load()
}
