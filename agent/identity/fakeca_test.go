package identity

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"argosy/agent/identity/connectca"
)

// fakeServers sign certificates as Consul's servers do.
type fakeServers struct {
	connectca.UnimplementedConnectCAServiceServer
	address string

	mu      sync.Mutex
	changed chan struct{}
	domain  string
	life    time.Duration
	roots   []*authority // the first one signs
	token   string       // the only good one
	fail    error        // what Sign answers
	mangle  func(cert []byte) []byte
	csrs    []*x509.CertificateRequest
	asked   []time.Time
	streams int
	server  *grpc.Server
}

func newFakeServers(t *testing.T, secure *tls.Config) *fakeServers {
	t.Helper()
	f := &fakeServers{changed: make(chan struct{}), domain: "11111111-2222.consul", life: time.Hour, roots: []*authority{newRoot(t)}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	f.serve(t, l, secure)
	return f
}

func (f *fakeServers) serve(t *testing.T, l net.Listener, secure *tls.Config) {
	var options []grpc.ServerOption
	if secure != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(secure)))
	}
	f.server = grpc.NewServer(options...)
	connectca.RegisterConnectCAServiceServer(f.server, f)
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(l) }()
	t.Cleanup(func() {
		f.server.Stop()
		<-done
	})
}

func newRoot(t *testing.T) *authority {
	t.Helper()
	return newAuthority(t, nil, isCA)
}

// change changes what is served, and wakes who waits.
func (f *fakeServers) change(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
	close(f.changed)
	f.changed = make(chan struct{})
}

// seen reads what has been served.
func (f *fakeServers) seen(read func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	read()
}

func (f *fakeServers) allowed(ctx context.Context) error {
	m, _ := metadata.FromIncomingContext(ctx)
	var token string
	if got := m.Get("x-consul-token"); len(got) == 1 {
		token = got[0]
	}
	if token != f.token {
		return status.Error(codes.PermissionDenied, "Permission denied: token lacks permission 'service:write'")
	}
	return nil
}

func rootID(a *authority) string { return a.cert.SerialNumber.String() }

func (f *fakeServers) answer() *connectca.WatchRootsResponse {
	answer := &connectca.WatchRootsResponse{TrustDomain: f.domain, ActiveRootId: rootID(f.roots[0])}
	for i, r := range f.roots {
		answer.Roots = append(answer.Roots, &connectca.CARoot{Id: rootID(r), RootCert: string((&authority{cert: r.cert}).chain()), Active: i == 0})
	}
	return answer
}

func (f *fakeServers) WatchRoots(_ *connectca.WatchRootsRequest, out grpc.ServerStreamingServer[connectca.WatchRootsResponse]) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams++
	for {
		if err := f.allowed(out.Context()); err != nil {
			return err
		}
		answer := f.answer()
		changed := f.changed
		f.mu.Unlock()
		err := out.Send(answer)
		select {
		case <-changed:
		case <-out.Context().Done():
			err = out.Context().Err()
		}
		f.mu.Lock()
		if err != nil {
			return err
		}
	}
}

func (f *fakeServers) Sign(ctx context.Context, r *connectca.SignRequest) (*connectca.SignResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, time.Now())
	if err := f.allowed(ctx); err != nil {
		return nil, err
	}
	if f.fail != nil {
		return nil, f.fail
	}
	block, _ := pem.Decode([]byte(r.Csr))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, status.Error(codes.InvalidArgument, "no CSR")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	f.csrs = append(f.csrs, csr)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, URIs: csr.URIs, NotBefore: time.Now().Add(-time.Second), NotAfter: time.Now().Add(f.life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, f.roots[0].cert, csr.PublicKey, f.roots[0].key)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if f.mangle != nil {
		cert = f.mangle(cert)
	}
	return &connectca.SignResponse{CertPem: string(cert)}, nil
}

// dialFake makes a further client for the servers that c uses.
func dialFake(t *testing.T, c *Connect) connectca.ConnectCAServiceClient {
	t.Helper()
	conn, err := c.source.(*fromServers).dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return connectca.NewConnectCAServiceClient(conn)
}

// valueOf reads a metric.
func valueOf(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetGauge().GetValue() + out.GetCounter().GetValue()
}

// tells waits until a metric has a value: it is set a moment after what it tells of.
func tells(t *testing.T, m prometheus.Metric, want float64) {
	t.Helper()
	eventually(t, func() error {
		if got := valueOf(t, m); got != want {
			return fmt.Errorf("%s is %v, not %v", m.Desc(), got, want)
		}
		return nil
	})
}
