package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/backoff"
	"argosy/internal/tlsfiles"
	"argosy/internal/watch"
	"argosy/namer"
)

// Files is an identity from PEM files. While Run runs, they are read again every few seconds; files that do not go
// together, as in the middle of a replacement, change nothing.
type Files struct {
	files   *tlsfiles.Files
	every   time.Duration
	logger  hclog.Logger
	expiry  *prometheus.GaugeVec
	changed *watch.Cell[uint64]
}

// NewFiles reads the files. Without certFile and keyFile the identity can only be a client, one without a certificate.
// With caFile, servers must have certificates signed by it, and so must clients; without, servers are verified by the
// system's roots, and clients need no certificate.
func NewFiles(certFile, keyFile, caFile string) (*Files, error) {
	return newFiles(tlsfiles.New(certFile, keyFile, caFile))
}

// NewFilePairs is NewFiles with several certificates, of which a server shows each client one that it asks for and
// supports. The first one is for all others, and for what a client shows.
func NewFilePairs(pairs []tlsfiles.Pair, caFile string) (*Files, error) {
	return newFiles(tlsfiles.NewPairs(pairs, caFile))
}

func newFiles(files *tlsfiles.Files, err error) (*Files, error) {
	if err != nil {
		return nil, err
	}
	return &Files{
		files: files, every: 5 * time.Second, logger: hclog.NewNullLogger(), expiry: newFileMetrics(nil), changed: watch.New(uint64(0), nil),
	}, nil
}

// SetLogger makes Run log when files change, or cannot be used. It is called before Run.
func (f *Files) SetLogger(l hclog.Logger) { f.logger = l }

// SetMetrics makes Run tell when the certificates end. It is called before Run.
func (f *Files) SetMetrics(reg prometheus.Registerer) { f.expiry = newFileMetrics(reg) }

// Run reads the files again and again until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	failing := false
	f.tellExpiry()
	defer f.files.Certificates(func(file string, _ *x509.Certificate) { f.expiry.DeleteLabelValues(file) })
	for backoff.Sleep(ctx, f.every) == nil {
		roots := f.files.State().RootsID
		changed, err := f.files.Reload()
		if f.files.State().RootsID != roots {
			f.changed.Update(func(n uint64) uint64 { return n + 1 })
		}
		switch {
		case err != nil && !failing:
			f.logger.Warn("changed TLS files cannot be used: the old ones stay in use", "error", err)
		case changed:
			f.logger.Info("read changed TLS files", "name", f.Name())
		}
		failing = err != nil
		f.tellExpiry() // also without a change: another identity with the same file may have ended meanwhile
	}
	return nil
}

func (f *Files) tellExpiry() {
	f.files.Certificates(func(file string, cert *x509.Certificate) {
		f.expiry.WithLabelValues(file).Set(float64(cert.NotAfter.Unix()))
	})
}

// Ready returns an error when the certificate has ended or not begun.
func (f *Files) Ready() error {
	if cert := f.files.Certificate(); cert != nil {
		return validNow(cert.Leaf)
	}
	return nil
}

// Name is what the certificate says: its Connect service, common name or DNS name.
func (f *Files) Name() string {
	if cert := f.files.Certificate(); cert != nil {
		return certificateName(cert.Leaf)
	}
	return ""
}

// trustDomain is that of our certificate's SPIFFE id, if it has one.
func (f *Files) trustDomain() string {
	if cert := f.files.Certificate(); cert != nil {
		if id, err := certificateID(cert.Leaf); err == nil {
			return id.TrustDomain
		}
	}
	return ""
}

// Client implements Identity: the server must have a certificate with the SPIFFE id of the service expect, in our own
// trust domain if our certificate has one. An empty datacenter stands for any.
func (f *Files) Client(expect namer.ConnectID) (*tls.Config, error) {
	if expect.Service == "" {
		return nil, errors.New("no service is expected: the server cannot be verified")
	}
	t := f.client()
	t.ServerName = expect.Service
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verifyChain(cs.PeerCertificates, f.files.Roots(), x509.ExtKeyUsageServerAuth, ""); err != nil {
			return err
		}
		id, err := certificateID(cs.PeerCertificates[0])
		if err != nil {
			return err
		}
		own := f.trustDomain()
		if id.Service != expect.Service || expect.Datacenter != "" && id.Datacenter != expect.Datacenter || own != "" && id.TrustDomain != own {
			return fmt.Errorf("%w: it is %s, not service %s of datacenter %q", ErrPeer, id, expect.Service, expect.Datacenter)
		}
		return nil
	}
	return t, nil
}

// ClientNamed is the configuration for a connection to a server whose certificate must have that DNS name or IP
// address.
func (f *Files) ClientNamed(serverName string) (*tls.Config, error) {
	return f.ClientWith(ClientOptions{ServerName: serverName})
}

func (f *Files) client() *tls.Config {
	t := tlsfiles.Base()
	t.InsecureSkipVerify = true // so that changed roots count at once; all is verified in VerifyConnection
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert := f.files.Certificate(); cert != nil {
			return cert, nil
		}
		return &tls.Certificate{}, nil
	}
	return t
}
