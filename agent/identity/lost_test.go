package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/devca"
)

// newCA is what a cluster issues.
func newCA(t *testing.T) *devca.CA {
	t.Helper()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func leafOf(t *testing.T, ca *devca.CA, service string) *leaf {
	t.Helper()
	issued, err := ca.Issue(service)
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseLeaf(issued.Cert, issued.Key, service)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func rootsOf(t *testing.T, ca *devca.CA) *trust {
	t.Helper()
	r, err := parseRoots(&api.CARootList{TrustDomain: ca.ID("x").Host, Roots: []*api.CARoot{{ID: "now", RootCertPEM: string(ca.PEM())}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// member is an identity that allows everybody, as a cluster has made it.
func member(t *testing.T, ca *devca.CA, service string) *Connect {
	t.Helper()
	c := NewConnect(nil, service, hclog.NewNullLogger(), nil)
	c.rules.Set(rules{known: true, defaultKnown: true, defaultAllow: true})
	c.setLeaf(leafOf(t, ca, service))
	c.setTrust(rootsOf(t, ca))
	return c
}

// Two agents move from one cluster to another, each in steps of its own: a new certificate, then new roots, or the other
// way round. They connect to each other at any time.
func TestMove(t *testing.T) {
	before, after := newCA(t), newCA(t)
	moves := []string{"", "leaf", "roots", "leaf roots"}
	move := func(c *Connect, steps string) *Connect {
		if strings.Contains(steps, "leaf") {
			c.setLeaf(leafOf(t, after, c.service))
		}
		if strings.Contains(steps, "roots") {
			c.setTrust(rootsOf(t, after))
		}
		return c
	}
	for _, web := range moves {
		for _, db := range moves {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				client, server := move(member(t, before, "web"), web), move(member(t, before, "db"), db)
				config := to(t, client, "db")
				config.MaxVersion = version
				state, serverErr, clientErr := shake(t, server.Server(), config)
				if serverErr != nil || clientErr != nil {
					t.Errorf("web has moved %q, db %q: %v; %v", web, db, serverErr, clientErr)
				}
				if web == "leaf roots" && db == web {
					if got := state.PeerCertificates[0].URIs[0].Host; got != after.ID("db").Host {
						t.Errorf("both have moved, and db is of %s", got)
					}
				}
			}
		}
	}
}

// The cluster before counts for a while for those who connect, and goes on to count for those who are connected.
func TestMoveIsOver(t *testing.T) {
	before, after := newCA(t), newCA(t)
	web, db := member(t, before, "web"), member(t, before, "db")
	state, serverErr, clientErr := shake(t, web.Server(), to(t, db, "web")) // the state is what db sees of web
	if serverErr != nil || clientErr != nil {
		t.Fatal(serverErr, clientErr)
	}
	client := NewPeer(state, time.Now())
	if err := db.Judge(client); err != nil {
		t.Errorf("before the move: %v", err)
	}
	db.setLeaf(leafOf(t, after, "db"))
	db.setTrust(rootsOf(t, after))
	if err := db.Authorize(state); err != nil {
		t.Errorf("just after the move: %v", err)
	}
	db.now = func() time.Time { return time.Now().Add(moveGrace + time.Second) }
	if err := db.Authorize(state); !errors.Is(err, ErrPeer) {
		t.Errorf("long after the move: %v", err)
	}
	if err := db.Judge(client); err != nil {
		t.Errorf("of one who is connected: %v", err)
	}
	if _, serverErr, _ := shake(t, db.Server(), to(t, web, "db")); serverErr == nil {
		t.Error("one who has not moved got in long after the move")
	}
	db.rules.Set(rules{known: true, list: []rule{{source: "web"}}})
	if err := db.Judge(client); !errors.Is(err, ErrDenied) {
		t.Errorf("denied: %v", err)
	}
	// Clusters that are long gone are forgotten.
	db.rules.Set(rules{known: true, defaultKnown: true, defaultAllow: true})
	for n := 1; n <= movedMost; n++ {
		if err := db.Judge(client); err != nil {
			t.Errorf("after %d moves: %v", n, err)
		}
		db.setTrust(rootsOf(t, newCA(t)))
	}
	if err := db.Judge(client); !errors.Is(err, ErrPeer) {
		t.Errorf("after many moves: %v", err)
	}
}

func TestKeptRules(t *testing.T) {
	begin := time.Now()
	for _, c := range []struct {
		name   string
		empty  bool
		index  uint64
		domain string
		after  time.Duration
		since  time.Duration // the loss was noticed that long before; 0: it was not
		counts bool
	}{
		{name: "changed", index: 50, domain: "a", counts: true},
		{name: "changed, in another cluster", index: 5, domain: "b", counts: true},
		{name: "the last is deleted", empty: true, index: 41, domain: "a", counts: true},
		{name: "the last is deleted, and the index is the same", empty: true, index: 40, domain: "a", counts: true},
		{name: "index 1", empty: true, index: 1, domain: "a"},
		{name: "an older index", empty: true, index: 39, domain: "a"},
		{name: "another cluster with a high index", empty: true, index: 400, domain: "b"},
		{name: "lost, for a moment", empty: true, index: 12, domain: "b", since: time.Minute},
		{name: "lost, for long", empty: true, index: 12, domain: "b", since: moveGrace, counts: true},
		{name: "written again", index: 13, domain: "b", since: time.Minute, counts: true},
	} {
		k := keptRules{index: 40, domain: "a"}
		if c.since > 0 {
			k.since = begin.Add(-c.since)
		}
		if got := k.count(c.empty, c.index, c.domain, begin); got != c.counts {
			t.Errorf("%s: counts %v", c.name, got)
		}
		if c.counts && k != (keptRules{index: c.index, domain: c.domain}) {
			t.Errorf("%s: %+v", c.name, k)
		}
	}
}

// becomeRules waits until an identity has so many rules.
func becomeRules(t *testing.T, c *Connect, n int) {
	t.Helper()
	eventually(t, func() error {
		if r := c.rules.Value(); len(r.list) != n {
			return fmt.Errorf("rules %+v", r)
		}
		return nil
	})
}

// askedMatches counts the requests for intentions.
func (f *fakeConsul) askedMatches() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.matches
}

// askedAgain returns when intentions have been asked for so many times more.
func (f *fakeConsul) askedAgain(t *testing.T, times int) {
	t.Helper()
	before := f.askedMatches()
	eventually(t, func() error {
		if n := f.askedMatches() - before; n < times {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
}

// outage makes Consul fail until something has been asked for in vain, and then come back as f makes it.
func (f *fakeConsul) outage(t *testing.T, change func()) {
	t.Helper()
	f.change(func() { f.down = true })
	f.askedAgain(t, 2)
	f.change(func() { f.down = false; change() })
}

// settle returns when what is served now has been taken in: whoever asks again is through with the answer before.
func (f *fakeConsul) settle(t *testing.T) {
	t.Helper()
	for range 3 {
		before := f.askedMatches()
		f.change(func() {})
		eventually(t, func() error {
			if f.askedMatches() == before {
				return errors.New("nobody asks")
			}
			return nil
		})
	}
}

// What gives no reason is no decision about the default action.
func TestDefaultWithoutReason(t *testing.T) {
	f, client := newFakeConsul(t)
	f.byDef = "allow"
	db := run(t, client, "db")
	ready(t, db)
	for _, body := range []string{`{}`, `null`, `{"Authorized":false}`} {
		f.change(func() { f.garbage = body })
		if settled, err := db.askAuthorize(t.Context(), db.leaf.Value()); err == nil || settled {
			t.Errorf("%s: settled %v", body, settled)
		}
		if r := db.rules.Value(); !r.defaultAllow {
			t.Errorf("%s: %+v", body, r)
		}
	}
}

func TestIntentionsAreNotLostByMistake(t *testing.T) {
	f, client := newFakeConsul(t)
	f.index = 1000
	f.rules["db"] = []*api.Intention{intention("web", "allow", 9)}
	db := run(t, client, "db")
	ready(t, db)
	becomeRules(t, db, 1)

	// All that is no answer.
	for _, body := range []string{`null`, `{}`, `{"db":`, `[]`, `<html>`, `{"other":null}`, `{"TrustDomain":"x","Roots":[null]}`} {
		f.change(func() { f.garbage = body })
		f.askedAgain(t, 2)
		if r := db.rules.Value(); len(r.list) != 1 || r.defaultAllow {
			t.Errorf("after %s: %+v", body, r)
		}
		f.change(func() { f.garbage = "" })
		f.settle(t)
		if err := db.Ready(); err != nil {
			t.Errorf("after %s: %v", body, err)
		}
	}
	// Deleted while Consul could not be asked, and while it could.
	f.outage(t, func() { f.rules["db"] = nil })
	becomeRules(t, db, 0)
	f.intend("db", intention("web", "allow", 9))
	becomeRules(t, db, 1)
	f.intend("db")
	becomeRules(t, db, 0)
	f.intend("db", intention("web", "allow", 9))
	becomeRules(t, db, 1)
	if f.lax > 0 {
		t.Errorf("%d requests after trouble may be answered from before it", f.lax)
	}
	// Back from an older time, and back as another cluster.
	f.outage(t, func() { f.index = 10; f.rules["db"] = nil })
	f.settle(t)
	if r := db.rules.Value(); len(r.list) != 1 {
		t.Errorf("rules %+v", r)
	}
	f.intend("db", intention("web", "allow", 9), intention("*", "deny", 8))
	becomeRules(t, db, 2)
	f.outage(t, func() { f.ca = newCA(t); f.leaves = map[string]*api.LeafCert{}; f.rules["db"] = nil })
	f.settle(t)
	if r := db.rules.Value(); len(r.list) != 2 {
		t.Errorf("rules %+v", r)
	}
}

// A certificate that cannot be used now, because a clock is wrong, does not replace one that can.
func TestCertificateOfTheFuture(t *testing.T) {
	ca := newCA(t)
	web, db := member(t, ca, "web"), member(t, ca, "db")
	future, err := devca.New(func() time.Time { return time.Now().Add(time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	first := web.leaf.Value()
	next := leafOf(t, future, "web")
	next.id = first.id
	web.setLeaf(next)
	if _, serverErr, clientErr := shake(t, db.Server(), to(t, web, "db")); serverErr != nil || clientErr != nil {
		t.Errorf("%v; %v", serverErr, clientErr)
	}
	web.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if cert, err := web.certificate(); err != nil || cert != next.cert {
		t.Errorf("when its time has come: %v", err)
	}
	web.now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	if _, err := web.certificate(); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "begins at") {
		t.Errorf("with a clock that is behind: %v", err)
	}
}

// transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A timer does not notice that the clock was set, or that the machine has slept: the clock is looked at now and then.
func TestRenewalAfterSleep(t *testing.T) {
	ca := newCA(t)
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		client, err := api.NewClient(&api.Config{Address: "consul", HttpClient: &http.Client{
			Transport: transport(func(*http.Request) (*http.Response, error) {
				asked.Add(1)
				return nil, errors.New("no network")
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		db := NewConnect(client, "db", hclog.NewNullLogger(), nil)
		var slept atomic.Int64
		db.now = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		issued := leafOf(t, ca, "db")
		issued.cert.Leaf.NotBefore, issued.cert.Leaf.NotAfter = time.Now(), time.Now().Add(72*time.Hour)
		db.setLeaf(issued)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { fromAgent{client}.renewLeaf(ctx, db) })
		time.Sleep(time.Hour)
		if n := asked.Load(); n != 0 {
			t.Errorf("%d requests while the certificate is young", n)
		}
		slept.Store(int64(60 * time.Hour))
		time.Sleep(clockEvery + time.Second)
		if asked.Load() == 0 {
			t.Error("nothing is asked for though the certificate is about to end")
		}
		slept.Store(int64(-60 * time.Hour)) // and set back
		time.Sleep(10 * time.Minute)
		n := asked.Load()
		time.Sleep(time.Hour)
		if asked.Load() != n {
			t.Error("still asked for")
		}
		cancel()
		wg.Wait()
	})
}
