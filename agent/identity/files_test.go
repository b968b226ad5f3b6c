package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"argosy/internal/devca"
	"argosy/namer"
)

func devCA(t *testing.T) *devca.CA {
	t.Helper()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// files makes an identity from a CA, and says where its files are.
func files(t *testing.T, ca *devca.CA, service string, hosts ...string) (*Files, devca.Files) {
	t.Helper()
	paths, err := ca.Write(t.TempDir(), service, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFiles(paths.Cert, paths.Key, paths.CA)
	if err != nil {
		t.Fatal(err)
	}
	return f, paths
}

func TestFilesConnections(t *testing.T) {
	ca, foreign := devCA(t), devCA(t)
	server, paths := files(t, ca, "redis", "redis.example", "127.0.0.1")
	client, _ := files(t, ca, "web")
	stranger, _ := files(t, foreign, "web")
	open, err := NewFiles(paths.Cert, paths.Key, "")
	if err != nil {
		t.Fatal(err)
	}
	bare, err := NewFiles("", "", paths.CA)
	if err != nil {
		t.Fatal(err)
	}
	id := func(f *Files, dc, service string) *tls.Config {
		t.Helper()
		c, err := f.Client(namer.ConnectID{Datacenter: dc, Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	name := func(f *Files, name string) *tls.Config {
		t.Helper()
		c, err := f.ClientNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	for _, c := range []struct {
		name           string
		server, client *tls.Config
		ok             bool
		clientErr      error
	}{
		{"by SPIFFE id", server.Server(), id(client, "dc1", "redis"), true, nil},
		{"of any datacenter", server.Server(), id(client, "", "redis"), true, nil},
		{"by DNS name", server.Server(), name(client, "redis.example"), true, nil},
		{"by IP address", server.Server(), name(client, "127.0.0.1"), true, nil},
		{"wrong service", server.Server(), id(client, "dc1", "mysql"), false, ErrPeer},
		{"wrong datacenter", server.Server(), id(client, "dc2", "redis"), false, ErrPeer},
		{"wrong name", server.Server(), name(client, "mysql.example"), false, ErrPeer},
		{"client without certificate", server.Server(), name(bare, "redis.example"), false, nil},
		{"client of another CA", server.Server(), func() *tls.Config {
			c := name(stranger, "redis.example")
			c.VerifyConnection = nil
			return c
		}(), false, nil},
		{"server of another CA", stranger.Server(), id(client, "dc1", "web"), false, ErrPeer},
		{"no client certificates wanted", open.Server(), name(bare, "redis.example"), true, nil},
		{"an ordinary client", open.Server(), &tls.Config{RootCAs: pool, ServerName: "redis.example"}, true, nil},
		{"system roots do not know a development CA", open.Server(), name(open, "redis.example"), false, ErrPeer},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, serverErr, clientErr := shake(t, c.server, c.client)
			if ok := serverErr == nil && clientErr == nil; ok != c.ok || c.clientErr != nil && !errors.Is(clientErr, c.clientErr) {
				t.Errorf("server: %v; client: %v", serverErr, clientErr)
			}
		})
	}
	if _, serverErr, _ := shake(t, bare.Server(), name(bare, "x")); !errors.Is(serverErr, ErrNotReady) {
		t.Errorf("a server without a certificate: %v", serverErr)
	}
	if server.Name() != "redis" || bare.Name() != "" {
		t.Errorf("names %q and %q", server.Name(), bare.Name())
	}
	for _, f := range []func() (*tls.Config, error){
		func() (*tls.Config, error) { return client.Client(namer.ConnectID{Datacenter: "dc1"}) },
		func() (*tls.Config, error) { return client.ClientNamed("") },
	} {
		if _, err := f(); err == nil {
			t.Error("a client that expects nobody")
		}
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	ca := devCA(t)
	f, paths := files(t, ca, "old", "x.example")
	f.every = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	named := func(want string) {
		t.Helper()
		eventually(t, func() error {
			if got := f.Name(); got != want {
				return errors.New("it is " + got)
			}
			return nil
		})
	}
	server := f.Server()
	next, err := ca.Write(t.TempDir(), "new", "x.example")
	if err != nil {
		t.Fatal(err)
	}
	move := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+".tmp", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(to+".tmp", to); err != nil {
			t.Fatal(err)
		}
	}
	move(next.Cert, paths.Cert) // does not go with the key yet
	time.Sleep(50 * time.Millisecond)
	named("old")
	move(next.Key, paths.Key)
	named("new")
	state, _, _ := shake(t, server, mustClient(t, f, "new"))
	if PeerName(state) != "new" {
		t.Errorf("the server, whose configuration was made before, is %q", PeerName(state))
	}

	if err := os.Remove(paths.CA); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, serverErr, clientErr := shake(t, server, mustClient(t, f, "new")); serverErr != nil || clientErr != nil {
		t.Errorf("with a file gone: %v; %v", serverErr, clientErr)
	}
}

func mustClient(t *testing.T, f *Files, service string) *tls.Config {
	t.Helper()
	c, err := f.Client(namer.ConnectID{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFilesThatCannotBe(t *testing.T) {
	ca := devCA(t)
	_, paths := files(t, ca, "a")
	_, other := files(t, ca, "b")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{paths.Cert, "", ""}, {"", paths.Key, ""}, {paths.Cert, other.Key, ""}, {paths.Cert, paths.Key, empty},
		{paths.Cert, paths.Key, "/does/not/exist"}, {empty, paths.Key, ""},
	} {
		if _, err := NewFiles(c[0], c[1], c[2]); err == nil {
			t.Errorf("%q was accepted", c)
		}
	}
}

func TestEndedCertificatesAreNotReady(t *testing.T) {
	ca, err := devca.New(func() time.Time { return time.Now().Add(-2 * devca.Lifetime) })
	if err != nil {
		t.Fatal(err)
	}
	f, _ := files(t, ca, "old")
	if err := f.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("got %v", err)
	}
	g, _ := files(t, devCA(t), "new")
	if err := g.Ready(); err != nil {
		t.Error(err)
	}
}
