package identity

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

func TestIDs(t *testing.T) {
	const base = "spiffe://abc.consul/ns/default/dc/dc1/svc/web"
	for in, want := range map[string]string{
		base: base,
		"spiffe://abc.consul/ap/p1/ns/n/dc/dc1/svc/web":        "spiffe://abc.consul/ap/p1/ns/n/dc/dc1/svc/web",
		"spiffe://abc.consul/ap/default/ns/default/dc/d/svc/w": "spiffe://abc.consul/ns/default/dc/d/svc/w",
		"spiffe://abc.consul/gateway/mesh/dc/dc1":              "",
		"spiffe://abc.consul/agent/client/dc/dc1/id/n1":        "",
		"spiffe://abc.consul/ns/default/dc/dc1/svc/":           "",
		"spiffe://abc.consul/ns//dc/dc1/svc/web":               "",
		"spiffe://abc.consul/ns/default/dc/dc1/svc/web/x":      "",
		"spiffe://abc.consul/x/ns/default/dc/dc1/svc/web":      "",
		"spiffe://abc.consul/ns/default/dc/dc1/svc/a%2Fb":      "",
		"https://abc.consul/ns/default/dc/dc1/svc/web":         "",
		"spiffe:///ns/default/dc/dc1/svc/web":                  "",
		"spiffe://abc.consul:80/ns/default/dc/dc1/svc/web":     "",
		"spiffe://user@abc.consul/ns/default/dc/dc1/svc/web":   "",
		base + "?x=y": "",
		base + "#x":   "",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		id, err := parseID(u)
		if got := id.String(); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: got %s, %v", in, got, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("spiffe://abc.consul/ns/default/dc/dc1/svc/web")
	f.Add("spiffe://abc.consul/ap/x/ns/default/dc/dc1/svc/w%65b")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		id, err := parseID(u)
		if err != nil {
			return
		}
		again, err := url.Parse(id.String())
		if err != nil {
			t.Fatalf("%q prints as %q, which does not parse: %v", s, id, err)
		}
		if id2, err := parseID(again); err != nil || id2 != id {
			t.Fatalf("%q prints as %q, which reads as %v, %v", s, id, id2, err)
		}
	})
}

func TestIntentions(t *testing.T) {
	allow := func(source string, precedence int) *api.Intention {
		return &api.Intention{SourceNS: "default", SourceName: source, Action: api.IntentionActionAllow, Precedence: precedence, SourceType: "consul"}
	}
	deny := func(source string, precedence int) *api.Intention {
		i := allow(source, precedence)
		i.Action = api.IntentionActionDeny
		return i
	}
	with := func(i *api.Intention, f func(*api.Intention)) *api.Intention { f(i); return i }
	const unknown, yes, no = 0, 1, 2
	for _, c := range []struct {
		name   string
		list   []*api.Intention
		byDef  int
		source string
		want   bool
	}{
		{"exact allow", []*api.Intention{allow("web", 9)}, no, "web", true},
		{"exact deny", []*api.Intention{deny("web", 9)}, yes, "web", false},
		{"no rule, default allow", []*api.Intention{deny("db", 9)}, yes, "web", true},
		{"no rule, default deny", nil, no, "web", false},
		{"no rule, default unknown", nil, unknown, "web", false},
		{"wildcard", []*api.Intention{allow("*", 8)}, unknown, "web", true},
		{"exact before wildcard", []*api.Intention{deny("web", 9), allow("*", 8)}, yes, "web", false},
		{"whatever the order", []*api.Intention{allow("*", 8), deny("web", 9)}, yes, "web", false},
		{"names are compared exactly", []*api.Intention{allow("Web", 9)}, no, "web", false},
		{"no prefixes", []*api.Intention{allow("we", 9)}, no, "web", false},
		{"L7 permissions deny", []*api.Intention{with(allow("web", 9), func(i *api.Intention) {
			i.Action, i.Permissions = "", []*api.IntentionPermission{{Action: "allow"}}
		}), allow("*", 8)}, yes, "web", false},
		{"peers are not us", []*api.Intention{with(allow("web", 9), func(i *api.Intention) { i.SourcePeer = "other" })}, no, "web", false},
		{"other partitions are not us", []*api.Intention{with(allow("web", 9), func(i *api.Intention) { i.SourcePartition = "p" })}, no, "web", false},
		{"other namespaces are not us", []*api.Intention{with(allow("web", 9), func(i *api.Intention) { i.SourceNS = "n" })}, no, "web", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rules{known: true, list: compile(c.list), defaultKnown: c.byDef != unknown, defaultAllow: c.byDef == yes}
			id := ID{TrustDomain: "td", Namespace: "default", Datacenter: "dc1", Service: c.source}
			if got, why := r.decide(id); got != c.want || why == "" {
				t.Errorf("got %v: %s", got, why)
			}
			if got, _ := (rules{defaultKnown: true, defaultAllow: true}).decide(id); got {
				t.Error("allowed before the intentions were known")
			}
			for _, foreign := range []ID{{"td", "", "other", "dc1", c.source}, {"td", "p", "default", "dc1", c.source}} {
				if got, _ := r.decide(foreign); got {
					t.Errorf("allowed %s", foreign)
				}
			}
		})
	}
}

func TestPeerName(t *testing.T) {
	u := func(s string) []*url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	for want, c := range map[string]*x509.Certificate{
		"web":                 {URIs: u("spiffe://td/ns/default/dc/dc1/svc/web"), Subject: pkix.Name{CommonName: "cn"}},
		"spiffe://td/gateway": {URIs: u("spiffe://td/gateway"), Subject: pkix.Name{CommonName: "cn"}},
		"cn":                  {URIs: u("https://x"), Subject: pkix.Name{CommonName: "cn"}, DNSNames: []string{"a.example"}},
		"a.example":           {DNSNames: []string{"a.example", "b.example"}},
		"":                    {},
	} {
		if got := PeerName(tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := PeerName(tls.ConnectionState{}); got != "" {
		t.Errorf("got %q for nobody", got)
	}
}

func TestServiceNames(t *testing.T) {
	for name, want := range map[string]bool{"web": true, "web-1_b": true, "": false, "Web": false, "a/b": false, "a b": false, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false} {
		if validService(name) != want {
			t.Errorf("%q: got %v", name, !want)
		}
	}
}
