package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/tlsfiles"
)

func runMesh(t *testing.T, client *api.Client) *Mesh {
	t.Helper()
	m := NewMesh(client, hclog.New(&hclog.LoggerOptions{Output: t.Output()}), nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return m
}

func meshEntry(incoming, outgoing *api.MeshDirectionalTLSConfig) []*api.MeshConfigEntry {
	return []*api.MeshConfigEntry{{TLS: &api.MeshTLSConfig{Incoming: incoming, Outgoing: outgoing}}}
}

// says waits until the entry says so.
func (m *Mesh) says(t *testing.T, incoming, outgoing restriction) {
	t.Helper()
	want := &meshTLS{incoming, outgoing}
	eventually(t, func() error {
		if got := m.state.Value(); !got.equal(want) {
			return fmt.Errorf("it says %+v, not %+v", got, want)
		}
		return nil
	})
}

func TestParseMesh(t *testing.T) {
	const (
		aes128 = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
		chacha = tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	)
	for _, c := range []struct {
		in   *api.MeshDirectionalTLSConfig
		want restriction
		odd  []string
	}{
		{nil, restriction{}, nil},
		{&api.MeshDirectionalTLSConfig{}, restriction{}, nil},
		{&api.MeshDirectionalTLSConfig{TLSMinVersion: "TLS_AUTO", TLSMaxVersion: "TLS_AUTO"}, restriction{}, nil},
		{&api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_0", TLSMaxVersion: "TLSv1_1"},
			restriction{min: tls.VersionTLS10, max: tls.VersionTLS11}, nil},
		{&api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_2", TLSMaxVersion: "TLSv1_3"},
			restriction{min: tls.VersionTLS12, max: tls.VersionTLS13}, nil},
		{&api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_4"}, restriction{}, []string{"TLSv1_4"}},
		{&api.MeshDirectionalTLSConfig{CipherSuites: []string{
			"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
		}}, restriction{chosen: true, suites: []uint16{aes128, chacha}}, nil},
		{&api.MeshDirectionalTLSConfig{CipherSuites: []string{"TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"}},
			restriction{chosen: true}, []string{"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"}},
	} {
		for _, outgoing := range []bool{false, true} {
			want, entries := &meshTLS{incoming: c.want}, meshEntry(c.in, nil)
			if outgoing {
				want, entries = &meshTLS{outgoing: c.want}, meshEntry(nil, c.in)
			}
			m, odd := parseMesh([]api.ConfigEntry{entries[0]})
			if !m.equal(want) || !slices.Equal(odd, c.odd) {
				t.Errorf("%+v: %+v, odd %q", c.in, m, odd)
			}
		}
	}
	if m, odd := parseMesh([]api.ConfigEntry{&api.MeshConfigEntry{}, &api.ProxyConfigEntry{}}); !m.equal(&meshTLS{}) || odd != nil {
		t.Errorf("an entry without TLS: %+v, %q", m, odd)
	}
}

func TestConfine(t *testing.T) {
	const suite = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	for _, c := range []struct {
		own      uint16
		r        restriction
		min, max uint16
		suites   []uint16 // nil: all of ours
		fails    bool
	}{
		{tls.VersionTLS12, restriction{}, tls.VersionTLS12, 0, nil, false},
		{tls.VersionTLS12, restriction{min: tls.VersionTLS10}, tls.VersionTLS12, 0, nil, false},
		{tls.VersionTLS12, restriction{min: tls.VersionTLS13}, tls.VersionTLS13, 0, nil, false},
		{tls.VersionTLS13, restriction{min: tls.VersionTLS12}, tls.VersionTLS13, 0, nil, false},
		{tls.VersionTLS12, restriction{max: tls.VersionTLS12}, tls.VersionTLS12, tls.VersionTLS12, nil, false},
		{tls.VersionTLS13, restriction{max: tls.VersionTLS12}, 0, 0, nil, true},
		{tls.VersionTLS12, restriction{max: tls.VersionTLS11}, 0, 0, nil, true},
		{tls.VersionTLS12, restriction{chosen: true, suites: []uint16{suite}}, tls.VersionTLS12, 0, []uint16{suite}, false},
		{tls.VersionTLS12, restriction{chosen: true}, tls.VersionTLS13, 0, []uint16{}, false}, // none of ours: TLS 1.3 has its own
		{tls.VersionTLS12, restriction{chosen: true, max: tls.VersionTLS12}, 0, 0, nil, true},
	} {
		config := tlsfiles.Base()
		config.MinVersion = c.own
		ours := config.CipherSuites
		err := c.r.confine(config)
		if c.fails {
			if !errors.Is(err, errNoVersion) {
				t.Errorf("%+v: %v", c.r, err)
			}
			continue
		}
		if c.suites == nil {
			c.suites = ours
		}
		if err != nil || config.MinVersion != c.min || config.MaxVersion != c.max || !slices.Equal(config.CipherSuites, c.suites) {
			t.Errorf("%+v: %x to %x with %v (%v)", c.r, config.MinVersion, config.MaxVersion, config.CipherSuites, err)
		}
	}
}

// TestMesh: configurations made once follow the entry, through its changes and through Consul's trouble.
func TestMesh(t *testing.T) {
	f, client := newFakeConsul(t)
	f.byDef = "allow"
	f.silent["/config/mesh"] = true
	web, db := run(t, client, "web"), run(t, client, "db")
	ready(t, web, db)
	m := runMesh(t, client)
	server := m.Server(db.Server())
	client13, client12 := to(t, web, "db"), to(t, web, "db")
	client12.MaxVersion = tls.VersionTLS12
	shaken := func(c *tls.Config) (tls.ConnectionState, error) {
		t.Helper()
		state, serverErr, clientErr := shake(t, server, c)
		return state, errors.Join(serverErr, clientErr)
	}
	if _, err := shaken(client13); !errors.Is(err, ErrNotReady) {
		t.Errorf("before the first answer: %v", err)
	}
	if err := m.Client(to(t, web, "db")); !errors.Is(err, ErrNotReady) {
		t.Errorf("a client before the first answer: %v", err)
	}
	f.change(func() { delete(f.silent, "/config/mesh") })
	m.says(t, restriction{}, restriction{})
	for _, c := range []*tls.Config{client12, client13} {
		if state, err := shaken(c); err != nil || c == client12 && state.Version != tls.VersionTLS12 {
			t.Errorf("without an entry: version %x, %v", state.Version, err)
		}
	}

	f.change(func() { f.mesh = meshEntry(&api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_3"}, nil) })
	m.says(t, restriction{min: tls.VersionTLS13}, restriction{})
	if _, err := shaken(client12); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	if _, err := shaken(client13); err != nil {
		t.Error(err)
	}
	f.change(func() { f.down = true })
	if _, err := shaken(client12); err == nil {
		t.Error("TLS 1.2 was accepted while Consul was down")
	}
	const suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
	f.change(func() {
		f.down = false
		f.mesh = meshEntry(&api.MeshDirectionalTLSConfig{TLSMaxVersion: "TLSv1_2", CipherSuites: []string{suite}},
			&api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_2", TLSMaxVersion: "TLSv1_2"})
	})
	eventually(t, func() error {
		state, err := shaken(client13)
		if err != nil || state.Version != tls.VersionTLS12 || tls.CipherSuiteName(state.CipherSuite) != suite {
			return fmt.Errorf("version %x, %s, %v", state.Version, tls.CipherSuiteName(state.CipherSuite), err)
		}
		return nil
	})
	confined := to(t, web, "db")
	if err := m.Client(confined); err != nil || confined.MaxVersion != tls.VersionTLS12 {
		t.Errorf("a client gets %x, %v", confined.MaxVersion, err)
	}

	// What the mesh leaves and what is wanted here have nothing in common.
	strict := db.Server()
	strict.MinVersion = tls.VersionTLS13
	if _, err, _ := shake(t, m.Server(strict), client13); !errors.Is(err, errNoVersion) {
		t.Errorf("without a version in common: %v", err)
	}
	f.change(func() { f.mesh = nil })
	m.says(t, restriction{}, restriction{})
	if state, err := shaken(client13); err != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("after the entry is gone: version %x, %v", state.Version, err)
	}
}
