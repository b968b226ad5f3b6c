// Package tlsfiles holds certificates, keys and roots from PEM files, which are read again when they change.
package tlsfiles

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// freshness is for how long Files that look for changes by themselves do not look again.
const freshness = 5 * time.Second

// Files are a certificate with its key, and roots; any of them may be missing. Its methods may be called from any
// goroutine.
type Files struct {
	paths [3]string // certificate, key, CA; empty where not given
	state atomic.Pointer[state]

	logger  hclog.Logger
	looking sync.Mutex
	looked  time.Time
	failing bool
}

// state is what the files said when they were last good. It is never changed.
type state struct {
	raw   [3][]byte
	cert  *tls.Certificate // nil: none
	roots *x509.CertPool   // nil: none
}

// New reads the files. Empty names stand for none; a certificate needs a key, and a key a certificate.
func New(certFile, keyFile, caFile string) (*Files, error) {
	if (certFile == "") != (keyFile == "") {
		return nil, errors.New("TLS files: a certificate needs a key, and a key a certificate")
	}
	f := &Files{paths: [3]string{certFile, keyFile, caFile}, logger: hclog.NewNullLogger(), looked: time.Now()}
	s, err := f.read()
	if err != nil {
		return nil, err
	}
	f.state.Store(s)
	return f, nil
}

// SetLogger makes Files that look for changes by themselves log what they find. It is called before they are used.
func (f *Files) SetLogger(l hclog.Logger) { f.logger = l }

func (f *Files) read() (*state, error) {
	s := &state{}
	for i, path := range f.paths {
		if path == "" {
			continue
		}
		var err error
		if s.raw[i], err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("TLS files: %w", err)
		}
	}
	if f.paths[0] != "" {
		cert, err := tls.X509KeyPair(s.raw[0], s.raw[1])
		if err != nil {
			return nil, fmt.Errorf("TLS files: %s with %s: %w", f.paths[0], f.paths[1], err)
		}
		s.cert = &cert
	}
	if f.paths[2] != "" {
		s.roots = x509.NewCertPool()
		if !s.roots.AppendCertsFromPEM(s.raw[2]) {
			return nil, fmt.Errorf("TLS files: %s has no certificate in it", f.paths[2])
		}
	}
	return s, nil
}

// Reload takes the files over if they have changed and are good. Files that do not go together, as in the middle of a
// replacement, change nothing.
func (f *Files) Reload() (changed bool, err error) {
	s, err := f.read()
	if err != nil {
		return false, err
	}
	old := f.state.Load()
	for i := range s.raw {
		changed = changed || !bytes.Equal(s.raw[i], old.raw[i])
	}
	if changed {
		f.state.Store(s)
	}
	return changed, nil
}

// Certificate is the newest good certificate, nil if there is none.
func (f *Files) Certificate() *tls.Certificate { return f.state.Load().cert }

// Roots are the newest good roots, nil if no file was given.
func (f *Files) Roots() *x509.CertPool { return f.state.Load().roots }

// HasRoots reports whether a file of roots was given.
func (f *Files) HasRoots() bool { return f.paths[2] != "" }

// fresh looks for changes, unless that was done a moment ago. What cannot be used leaves things as they are: a
// handshake must not fail because a file is just being replaced.
func (f *Files) fresh() *state {
	if !f.looking.TryLock() {
		return f.state.Load()
	}
	defer f.looking.Unlock()
	if time.Since(f.looked) < freshness {
		return f.state.Load()
	}
	f.looked = time.Now()
	changed, err := f.Reload()
	switch {
	case err != nil && !f.failing:
		f.logger.Warn("changed TLS files cannot be used: the old ones stay in use", "error", err)
	case changed:
		f.logger.Info("read changed TLS files")
	}
	f.failing = err != nil
	return f.state.Load()
}
