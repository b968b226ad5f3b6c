//go:build servers

package agent

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"argosy/agent/config"
	"argosy/internal/consultest"
	"argosy/internal/settings"
)

// The admin endpoint as a Connect service of a real Consul: only the services that the configuration names may use it, and of these
// only those that intentions allow; what is open is open to all, and no traffic waits for that identity.
func TestConnectDoor(t *testing.T) {
	c := consultest.Start(t, consultest.Options{})
	leaf := func(service string) *tls.Certificate {
		t.Helper()
		l, _, err := c.Client.Agent().ConnectCALeaf(service, nil)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair([]byte(l.CertPEM), []byte(l.PrivateKeyPEM))
		if err != nil {
			t.Fatal(err)
		}
		return &pair
	}
	intend := func(sources map[string]api.IntentionAction) {
		t.Helper()
		entry := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "argosy-admin"}
		for name, action := range sources {
			entry.Sources = append(entry.Sources, &api.SourceIntention{Name: name, Action: action})
		}
		consultest.Eventually(t, patience, func() error { // a new leader has them read-only for a moment
			_, _, err := c.Client.ConfigEntries().Set(entry, nil)
			return err
		})
	}
	intend(map[string]api.IntentionAction{"ops": api.IntentionActionAllow, "web": api.IntentionActionAllow, "denied": api.IntentionActionDeny})
	b := startBackend(t, "one")
	cfg := baseConfig(map[string][]string{"one": {b.addr}})
	cfg.Consul = settings.Consul{Address: c.URL(), Datacenter: "dc1"}
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/one")}
	cfg.Admin.TLS = &settings.DoorTLS{Connect: "argosy-admin", Clients: []string{"ops", "denied"}}
	cfg.Admin.Open = []string{"/health"}
	p := startAgent(t, cfg)
	base := p.agent.AdminURL()
	if !strings.HasPrefix(base, "https://") {
		t.Fatal(base)
	}
	client := func(certificate *tls.Certificate) *http.Client {
		h := adminClient(t, nil, certificate, "")
		h.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // a Connect certificate has no host name
		return h
	}
	eventually(t, "the endpoint has its certificate", func() bool { return status(t, client(nil), "GET", base+"/health", "") == 200 })
	for _, test := range []struct {
		service       string
		health, other int
	}{{"", 200, 401}, {"ops", 200, 200}, {"web", 200, 403}, {"denied", 0, 0}} {
		var certificate *tls.Certificate
		if test.service != "" {
			certificate = leaf(test.service)
		}
		h := client(certificate)
		for _, x := range []struct {
			method, path string
			want         int
		}{{"GET", "/health", test.health}, {"GET", "/v1/routes", test.other}, {"GET", "/v1/config", test.other}, {"DELETE", "/v1/connections?listener=none", test.other}} {
			if got := status(t, h, x.method, base+x.path, ""); got != x.want {
				t.Errorf("%q: %s %s: %d, want %d", test.service, x.method, x.path, got, x.want)
			}
		}
	}

	// An intention that is changed also ends the rights on a connection that is open.
	h := client(leaf("ops"))
	h.Transport.(*http.Transport).DisableKeepAlives = false
	ask := func() int {
		r, err := h.Get(base + "/v1/routes")
		if err != nil {
			return 0
		}
		defer r.Body.Close()
		io.Copy(io.Discard, r.Body)
		return r.StatusCode
	}
	if got := ask(); got != 200 {
		t.Fatalf("ops: %d", got)
	}
	old := client(nil)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	if got := status(t, old, "GET", base+"/health", ""); got != 200 {
		t.Errorf("by TLS 1.2: %d", got)
	}
	setMesh(t, c, &api.MeshTLSConfig{Incoming: &api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_3"}})
	eventually(t, "TLS 1.2 is refused, as the mesh config entry says", func() bool { return status(t, old, "GET", base+"/health", "") == 0 })

	intend(map[string]api.IntentionAction{"ops": api.IntentionActionDeny})
	eventually(t, "ops is refused", func() bool { return ask() != 200 })
	if conn, who := p.dial("redis"); who != "one" {
		t.Errorf("%s answers", who)
	} else {
		conn.Close()
	}
}

// A Consul that gives no certificate to the admin endpoint keeps no traffic away.
func TestConnectDoorWithoutConsul(t *testing.T) {
	b := startBackend(t, "one")
	cfg := baseConfig(map[string][]string{"one": {b.addr}})
	cfg.Consul = settings.Consul{Address: "http://127.0.0.1:1"}
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/one")}
	cfg.Admin.TLS = &settings.DoorTLS{Connect: "argosy-admin", Clients: []string{"ops"}}
	p := startAgent(t, cfg) // it is healthy
	if conn, who := p.dial("redis"); who != "one" {
		t.Errorf("%s answers", who)
	} else {
		conn.Close()
	}
}
