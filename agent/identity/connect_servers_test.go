//go:build servers

package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/consultest"
	"argosy/namer"
)

// intend writes the intentions of a destination: pairs of a source and allow or deny, or L7.
func intend(t *testing.T, c *consultest.Consul, destination string, sources ...string) {
	t.Helper()
	if len(sources) == 0 {
		consultest.Eventually(t, 10*time.Second, func() error {
			_, err := c.Client.ConfigEntries().Delete(api.ServiceIntentions, destination, nil)
			return err
		})
		return
	}
	e := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: destination}
	for i := 0; i < len(sources); i += 2 {
		s := &api.SourceIntention{Name: sources[i], Action: api.IntentionAction(sources[i+1])}
		if sources[i+1] == "L7" {
			s.Action = ""
			s.Permissions = []*api.IntentionPermission{{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}}}
		}
		e.Sources = append(e.Sources, s)
	}
	// A Consul that has just been elected says for a moment that intentions are read-only.
	consultest.Eventually(t, 10*time.Second, func() error {
		_, _, err := c.Client.ConfigEntries().Set(e, nil)
		return err
	})
}

// becomes waits until connections from one to the other succeed, or are refused with want.
func becomes(t *testing.T, server, client *Connect, want error) {
	t.Helper()
	consultest.Eventually(t, 30*time.Second, func() error {
		config, err := client.Client(namer.ConnectID{Datacenter: "dc1", Service: server.Name()})
		if err != nil {
			return err
		}
		_, serverErr, clientErr := shake(t, server.Server(), config)
		if want == nil && (serverErr != nil || clientErr != nil) || want != nil && !errors.Is(serverErr, want) {
			return fmt.Errorf("server: %v; client: %v", serverErr, clientErr)
		}
		return nil
	})
}

func TestRealIntentions(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	web, db, cache := run(t, c.Client, "web"), run(t, c.Client, "db"), run(t, c.Client, "cache")
	ready(t, web, db, cache)
	becomes(t, db, web, nil) // without ACLs the default is to allow
	if err := db.Ready(); err != nil {
		t.Error(err)
	}

	intend(t, c, "db", "web", "deny")
	becomes(t, db, web, ErrDenied)
	becomes(t, db, cache, nil)
	intend(t, c, "db", "web", "allow", "*", "deny")
	becomes(t, db, web, nil)
	becomes(t, db, cache, ErrDenied)
	intend(t, c, "*", "*", "deny")
	becomes(t, cache, web, ErrDenied)
	becomes(t, db, web, nil)
	intend(t, c, "*")
	becomes(t, cache, web, nil)
	intend(t, c, "db")
	becomes(t, db, cache, nil)

	if _, _, err := c.Client.ConfigEntries().Set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "db", Protocol: "http"}, nil); err != nil {
		t.Fatal(err)
	}
	intend(t, c, "db", "web", "L7")
	becomes(t, db, web, ErrDenied)
	intend(t, c, "db")
	becomes(t, db, web, nil)
	if _, _, err := c.Client.ConfigEntries().Set(&api.JWTProviderConfigEntry{Kind: api.JWTProvider, Name: "issuer", Issuer: "issuer",
		JSONWebKeySet: &api.JSONWebKeySet{Local: &api.LocalJWKS{JWKS: "eyJrZXlzIjpbXX0="}}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Client.ConfigEntries().Set(&api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: "db",
		JWT:     &api.IntentionJWTRequirement{Providers: []*api.IntentionJWTProvider{{Name: "issuer"}}},
		Sources: []*api.SourceIntention{{Name: "web", Action: "allow"}}}, nil); err != nil {
		t.Fatal(err)
	}
	becomes(t, db, web, ErrDenied)
	intend(t, c, "db")
	becomes(t, db, web, nil)

	// Wrong service, no certificate, and what the server looks like.
	config := to(t, web, "db")
	if _, _, clientErr := shake(t, cache.Server(), config); !errors.Is(clientErr, ErrPeer) {
		t.Errorf("a server of another service: %v", clientErr)
	}
	anonymous := to(t, web, "db")
	anonymous.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	if _, serverErr, clientErr := shake(t, db.Server(), anonymous); serverErr == nil || clientErr == nil || errors.Is(serverErr, ErrDenied) {
		t.Errorf("without a certificate: %v; %v", serverErr, clientErr)
	}
	state, _, _ := shake(t, db.Server(), config)
	if PeerName(state) != "db" || state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "" {
		t.Errorf("connected to %q with version %x and protocol %q", PeerName(state), state.Version, state.NegotiatedProtocol)
	}
}

const aclHCL = `default_intention_policy = %q
acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = "11111111-1111-1111-1111-111111111111"
    agent              = "11111111-1111-1111-1111-111111111111"
  }
}`

// The default is not where one would look for it: ACLs deny by default, default_intention_policy says otherwise.
func TestRealDefaultPolicy(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]error{"allow": nil, "deny": ErrDenied} {
		t.Run(policy, func(t *testing.T) {
			c := consultest.Start(t, consultest.Options{HCL: fmt.Sprintf(aclHCL, policy), Token: "11111111-1111-1111-1111-111111111111"})
			token := func(service string) *api.Client {
				t.Helper()
				return c.ClientWith(t, tokenFor(t, c, service).SecretID)
			}
			web, db := run(t, token("web"), "web"), run(t, token("db"), "db")
			ready(t, web, db)
			becomes(t, db, web, want)
			intend(t, c, "db", "web", "allow")
			becomes(t, db, web, nil)
			intend(t, c, "db")
			becomes(t, db, web, want)

			foreign := run(t, token("web"), "payments") // a name that the token may not use
			time.Sleep(300 * time.Millisecond)
			if err := foreign.Ready(); !errors.Is(err, ErrNotReady) {
				t.Errorf("ready without permission: %v", err)
			}
		})
	}
}

func TestRealConsulIsKilled(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			c := consultest.Start(t, consultest.Options{Keep: keep})
			web, db, cache := run(t, c.Client, "web"), run(t, c.Client, "db"), run(t, c.Client, "cache")
			intend(t, c, "db", "cache", "deny")
			ready(t, web, db, cache)
			becomes(t, db, cache, ErrDenied)
			c.Kill()
			// Nothing changes for those who know what they need.
			for range 20 {
				becomes(t, db, web, nil)
				becomes(t, db, cache, ErrDenied)
			}
			late := NewConnect(c.Client, "late", hclog.NewNullLogger(), nil)
			if err := late.Ready(); !errors.Is(err, ErrNotReady) {
				t.Errorf("ready without ever having asked: %v", err)
			}
			serial, domain := web.leaf.Value().cert.Leaf.SerialNumber, web.trust.Value().domain
			c.MustRestart(t)
			if keep {
				becomes(t, db, web, nil)
			} else {
				// A new cluster has another trust domain and another authority: everybody has to move over.
				consultest.Eventually(t, 30*time.Second, func() error {
					for _, x := range []*Connect{web, db, cache} {
						if got := x.trust.Value().domain; got == domain || x.leaf.Value().id.TrustDomain != got {
							return fmt.Errorf("%s: roots of %s, leaf of %s", x.Name(), got, x.leaf.Value().id.TrustDomain)
						}
					}
					return nil
				})
				becomes(t, db, web, nil)
				becomes(t, db, cache, ErrDenied) // the intention is lost with the rest, and stays in force for a while
			}
			intend(t, c, "db", "web", "deny")
			if !keep {
				becomes(t, db, cache, nil) // whoever writes intentions is obeyed
			}
			becomes(t, db, web, ErrDenied)
			t.Logf("serial was %v, is %v", serial, web.leaf.Value().cert.Leaf.SerialNumber)
		})
	}
}

// A new root must not break a connection at any moment: the old one stays listed, leaves come with a bridge between.
func TestRealRootRotation(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	web, db := run(t, c.Client, "web"), run(t, c.Client, "db")
	ready(t, web, db)
	config, _, err := c.Client.Connect().CAGetConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	config.Config["PrivateKeyType"], config.Config["PrivateKeyBits"] = "rsa", 2048
	if _, err := c.Client.Connect().CASetConfig(config, nil); err != nil {
		t.Fatal(err)
	}
	old := []*leaf{web.leaf.Value(), db.leaf.Value()}
	moved := func(i int, x *Connect) bool { return !x.leaf.Value().equal(old[i]) }
	deadline := time.Now().Add(60 * time.Second) // Consul spreads the new leaves over 30 s
	for !moved(0, web) || !moved(1, db) {
		if time.Now().After(deadline) {
			t.Fatal("no new leaves")
		}
		for _, pair := range [][2]*Connect{{db, web}, {web, db}} {
			if _, serverErr, clientErr := shake(t, pair[0].Server(), to(t, pair[1], pair[0].Name())); serverErr != nil || clientErr != nil {
				t.Fatalf("during the rotation: %v; %v", serverErr, clientErr)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := len(web.leaf.Value().cert.Certificate); n != 2 {
		t.Errorf("a chain of %d certificates after the rotation", n)
	}
	if n := len(web.trust.Value().roots); n != 2 {
		t.Errorf("%d roots after the rotation", n)
	}
	becomes(t, db, web, nil)
}
