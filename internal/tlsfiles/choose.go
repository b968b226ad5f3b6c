package tlsfiles

import (
	"crypto/tls"
	"errors"
	"strings"
	"time"
)

var errNoCertificate = errors.New("TLS files: a server needs a certificate")

// index notes the names of the certificates.
func (s *State) index() {
	s.byName = map[string][]int{}
	if len(s.certs) < 2 {
		return
	}
	for i, c := range s.certs {
		for _, name := range c.cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			s.byName[name] = append(s.byName[name], i)
		}
	}
}

func (s *State) first() *tls.Certificate {
	if len(s.certs) == 0 {
		return nil
	}
	return s.certs[0].cert
}

// Choose returns the certificate for a client: the first that has the server name in it, also by a wildcard, and that the
// client supports by its kind of key; else the first whose kind of key it supports; else the first. It allocates nothing
// where there is only one certificate.
func (s *State) Choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	switch {
	case len(s.certs) == 0:
		return nil, errNoCertificate
	case len(s.certs) == 1 || hello == nil:
		return s.certs[0].stapled(time.Now()), nil
	}
	now := time.Now()
	anyName := *hello
	anyName.ServerName = "" // names have been compared already
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	exact, wild := s.byName[name], []int(nil)
	if _, rest, ok := strings.Cut(name, "."); ok {
		wild = s.byName["*."+rest]
	}
	for len(exact) > 0 || len(wild) > 0 { // both in the order of the configuration
		next := &exact
		if len(exact) == 0 || len(wild) > 0 && wild[0] < exact[0] {
			next = &wild
		}
		c := s.certs[(*next)[0]]
		*next = (*next)[1:]
		if anyName.SupportsCertificate(c.cert) == nil {
			return c.stapled(now), nil
		}
	}
	for _, c := range s.certs {
		if anyName.SupportsCertificate(c.cert) == nil {
			return c.stapled(now), nil
		}
	}
	return s.certs[0].stapled(now), nil
}
