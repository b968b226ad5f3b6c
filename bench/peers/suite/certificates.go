package suite

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"time"
)

// certificates are the cases of clients that prove to be somebody, or do not.
func certificates() []Case {
	return []Case{
		{Name: "allowed", Title: "a service that an intention allows is let in, with TLS 1.2 and 1.3", test: allowed},
		{Name: "intermediate", Title: "so is one whose certificate comes through an intermediate that it sends and a listed root has signed", test: intermediate},
		client("wrong-service", "a service that no intention allows is not let in", func(w *World) (*signer, error) { return w.leaf(stranger) }),
		{Name: "other-datacenter", Title: "intentions hold for services of every datacenter: an allowed one is let in, another one is not", test: otherDatacenter},
		client("other-trust-domain", "an allowed name in another trust domain, signed by our own authority, is not let in", func(w *World) (*signer, error) {
			id := *w.id(friend)
			id.Host = "11111111-2222-3333-4444-555555555555.consul"
			return sign(w.root, named(&id))
		}),
		client("other-namespace", "an allowed name in another namespace is not let in", func(w *World) (*signer, error) {
			id := *w.id(friend)
			id.Path = "/ns/other/dc/dc1/svc/" + friend
			return sign(w.root, named(&id))
		}),
		client("expired", "a certificate that has ended lets nobody in", func(w *World) (*signer, error) {
			return w.leaf(friend, valid(-2*time.Hour, -time.Minute))
		}),
		client("not-yet-valid", "nor does one that has not begun", func(w *World) (*signer, error) {
			return w.leaf(friend, valid(time.Hour, 2*time.Hour))
		}),
		client("self-signed", "nor one that has signed itself", func(w *World) (*signer, error) { return sign(nil, named(w.id(friend))) }),
		client("no-certificate", "a client without a certificate is not let in", func(*World) (*signer, error) { return nil, nil }),
		client("wrong-usage", "a certificate for servers only does not make a client", func(w *World) (*signer, error) {
			return w.leaf(friend, only(x509.ExtKeyUsageServerAuth))
		}),
		client("unlisted-authority", "an authority that is not listed lets nobody in, though it calls itself as the listed one does", func(w *World) (*signer, error) {
			other, err := sign(nil, authority("Test CA"))
			if err != nil {
				return nil, err
			}
			return sign(other, named(w.id(friend)))
		}),
		client("unlisted-intermediate", "nor does its intermediate", func(w *World) (*signer, error) {
			other, err := sign(nil, authority("Test CA"))
			if err != nil {
				return nil, err
			}
			between, err := sign(other, authority("Intermediate"))
			if err != nil {
				return nil, err
			}
			return sign(between, named(w.id(friend)))
		}),
		client("service-as-authority", "a service cannot make certificates for others with its own", func(w *World) (*signer, error) {
			own, err := w.leaf(stranger)
			if err != nil {
				return nil, err
			}
			return sign(own, named(w.id(friend)))
		}),
		{Name: "two-names", Title: "a certificate for two services lets neither in", test: twoNames},
		client("no-name", "nor does one without a SPIFFE id", func(w *World) (*signer, error) {
			return sign(w.root, func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = []string{friend}, friend })
		}),
		client("no-service", "nor one of a Consul agent", func(w *World) (*signer, error) {
			return sign(w.root, named(&url.URL{Scheme: "spiffe", Host: w.domain, Path: "/agent/client/dc/dc1/id/" + friend}))
		}),
		client("upper-case", "names are compared exactly: `FRIEND` is not `friend`", func(w *World) (*signer, error) { return w.leaf("FRIEND") }),
	}
}

// client is the case of a client that has to be refused for its certificate.
func client(name, title string, make func(*World) (*signer, error)) Case {
	return Case{Name: name, Title: title, test: func(b *bed) error {
		s, err := make(b.World)
		if err != nil {
			return err
		}
		return b.eachVersion("the client", s)
	}}
}

// letIn makes sure that a client gets through, with TLS 1.2 and 1.3.
func (b *bed) letIn(who string, s *signer) error {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		saw, err := b.knock(b.in.Listen, b.client(s, version(v)))
		if err != nil {
			return err
		}
		if saw != answer {
			b.saw = string(saw)
			return finding(who + " was not let in")
		}
	}
	return nil
}

func allowed(b *bed) error {
	leaf, err := b.leaf(friend)
	if err != nil {
		return err
	}
	return b.letIn("it", leaf)
}

func intermediate(b *bed) error {
	between, err := sign(b.root, authority("Intermediate"))
	if err != nil {
		return err
	}
	leaf, err := sign(between, named(b.id(friend)))
	if err != nil {
		return err
	}
	return b.letIn("it", leaf)
}

func otherDatacenter(b *bed) error {
	good, err1 := sign(b.root, named(b.idAt("dc2", friend)))
	bad, err2 := sign(b.root, named(b.idAt("dc2", stranger)))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := b.letIn("the allowed one", good); err != nil {
		return err
	}
	return b.eachVersion("the other one", bad)
}

// twoNames tries both orders: the first one is what a careless reader takes.
func twoNames(b *bed) error {
	for _, names := range [][2]string{{stranger, friend}, {friend, stranger}} {
		s, err := sign(b.root, named(b.id(names[0]), b.id(names[1])))
		if err != nil {
			return err
		}
		if err := b.eachVersion("the client", s); err != nil {
			return err
		}
	}
	return nil
}
