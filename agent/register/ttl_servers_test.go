//go:build servers

package register

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/consulclient"
	"argosy/internal/consultest"
	"argosy/internal/settings"
)

// webTTL beats every second.
func webTTL() Service {
	return Service{Listener: "in", ID: "web-1", Name: "web", Address: "127.0.0.9", Port: 80, Check: TTL, TTL: 3 * time.Second}
}

const (
	webPasses   = "web-1 127.0.0.9:80 passing;"
	webCritical = "web-1 127.0.0.9:80 critical;"
)

// TestRealTTL: what the catalog shows of a service's life.
func TestRealTTL(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	var ready atomic.Bool
	r := New(c.Client, Options{Logger: logTo(t), Health: func() Health { return Health{ready.Load(), fmt.Sprintf("ready: %v", ready.Load())} }})
	s := webTTL()
	s.TTL = time.Hour // whatever is seen was told
	stop := start(t, r, s)
	time.Sleep(time.Second)
	status(t, c, "")
	ready.Store(true)
	status(t, c, webPasses)
	consultest.Eventually(t, 20*time.Second, func() error {
		checks, err := c.Client.Agent().Checks()
		if err != nil || checks["service:web-1:ttl"] == nil || checks["service:web-1:ttl"].Output != "ready: true" {
			return fmt.Errorf("the check says %+v, %w", checks["service:web-1:ttl"], err)
		}
		return nil
	})
	ready.Store(false)
	status(t, c, webCritical)
	ready.Store(true)
	status(t, c, webPasses)
	c.MustRestart(t) // all is lost
	status(t, c, webPasses)
	stop()

	// A new process with the same id, while the check is still critical from the one before.
	if err := c.Client.Agent().UpdateTTL("service:web-1:ttl", "draining", api.HealthCritical); err != nil {
		t.Fatal(err)
	}
	status(t, c, webCritical)
	next := New(c.Client, Options{Logger: logTo(t)})
	start(t, next, s)
	status(t, c, webPasses)
}

// TestRealTTLEnds: who does not beat is critical, and TTL state outlives Consul's agent.
func TestRealTTLEnds(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Keep: true})
	var asked atomic.Int64
	r := New(c.Client, Options{Logger: logTo(t), Health: func() Health { return Health{true, fmt.Sprint(asked.Add(1), " connections")} }})
	stop := start(t, r, webTTL())
	status(t, c, webPasses)
	time.Sleep(time.Second) // the first beats may come along with the registration
	_, before, err := c.Client.Health().Service("web", "", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second) // longer than the TTL
	status(t, c, webPasses)
	// That the check says something else each time wakes nobody.
	if _, after, err := c.Client.Health().Service("web", "", false, nil); err != nil || after.LastIndex != before.LastIndex {
		t.Errorf("the catalog has changed: %+v, %v", after, err)
	}
	c.Kill()
	c.MustRestart(t)
	status(t, c, webPasses)
	stop()
	status(t, c, webCritical)
	start(t, r, webTTL())
	status(t, c, webPasses)
}

// TestRealWithdraw follows the catalog as a client does: critical first, gone only at the end.
func TestRealWithdraw(t *testing.T) {
	t.Parallel()
	for _, check := range []string{TTL, HTTP, None} {
		t.Run(check, func(t *testing.T) {
			t.Parallel()
			c := consultest.Start(t, consultest.Options{})
			r := New(c.Client, Options{Logger: logTo(t)})
			s := webTTL()
			s.Check, s.CheckURL = check, c.URL()+"/v1/status/leader"
			start(t, r, s)
			status(t, c, webPasses)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			seen := make(chan string, 100)
			go watchWeb(ctx, c.Client, seen)
			if got := <-seen; got != webPasses {
				t.Errorf("at first: %s", got)
			}
			if err := r.Withdraw(t.Context(), "draining: 3 connections"); err != nil {
				t.Fatal(err)
			}
			got := within(t, seen)
			if got != webCritical && got != strings.ReplaceAll(webCritical, "critical", "maintenance") {
				t.Errorf("withdrawn: %s", got)
			}
			time.Sleep(4 * time.Second) // it stays so, longer than the TTL
			if len(seen) > 0 {
				t.Errorf("while it drains: %s", <-seen)
			}
			passing, _, err := c.Client.Health().Service("web", "", true, nil)
			if err != nil || len(passing) != 0 {
				t.Errorf("%d pass, %v", len(passing), err)
			}
			if err := r.Deregister(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := within(t, seen); got != "" {
				t.Errorf("in the end: %s", got)
			}
			// A process of that id that starts afterwards, or while it was in maintenance, is as good as new.
			start(t, New(c.Client, Options{Logger: logTo(t)}), s)
			if got := within(t, seen); got != webPasses {
				t.Errorf("another process: %s", got)
			}
		})
	}
}

// watchWeb sends what the catalog says of web whenever that changes.
func watchWeb(ctx context.Context, client *api.Client, seen chan<- string) {
	q := &api.QueryOptions{WaitTime: 10 * time.Second}
	last := "?"
	for ctx.Err() == nil {
		all, meta, err := client.Health().Service("web", "", false, q.WithContext(ctx))
		if err != nil {
			return
		}
		q.WaitIndex = meta.LastIndex
		if got := shown(all); got != last {
			seen <- got
			last = got
		}
	}
}

func within(t *testing.T, seen <-chan string) string {
	t.Helper()
	select {
	case got := <-seen:
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was seen")
		return ""
	}
}

// TestRealWithoutLeader: a Consul that has lost its leader is told all the same, holds up nothing for longer than its
// limits, and has it right when it has a leader again.
func TestRealWithoutLeader(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	c := consultest.Start(t, consultest.Options{Keep: true, HCL: fmt.Sprintf("data_dir = %q\n", data)})
	reg := prometheus.NewRegistry()
	r := New(c.Client, Options{Logger: logTo(t), Registry: reg})
	s := webTTL()
	s.TTL = 30 * time.Second
	start(t, r, s)
	status(t, c, webPasses)
	raft, err := c.Client.Operator().RaftGetConfiguration(nil)
	if err != nil || len(raft.Servers) != 1 {
		t.Fatalf("%+v, %v", raft, err)
	}
	self := raft.Servers[0]
	peers := func(all ...map[string]any) {
		text, _ := json.Marshal(all)
		if err := os.WriteFile(filepath.Join(data, "raft", "peers.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	me := map[string]any{"id": self.ID, "address": self.Address, "non_voter": false}

	c.Kill()
	peers(me, map[string]any{"id": "00000000-0000-0000-0000-000000000001", "address": "127.0.0.1:1", "non_voter": false})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := c.Restart(ctx); err == nil {
		t.Fatal("it has a leader")
	}
	before := value(t, reg, "argosy_registration_beat_timestamp_seconds", "in")
	consultest.Eventually(t, time.Minute, func() error {
		if now := value(t, reg, "argosy_registration_beat_timestamp_seconds", "in"); now <= before {
			return fmt.Errorf("no beat since %v", before)
		}
		return nil
	})
	second := New(c.Client, Options{Logger: logTo(t)})
	two := s
	two.ID, two.Port = "web-2", 81
	start(t, second, two)
	consultest.Eventually(t, time.Minute, func() error {
		checks, err := c.Client.Agent().Checks()
		if err != nil || checks["service:web-1:ttl"] == nil || checks["service:web-1:ttl"].Status != "passing" ||
			checks["service:web-2:ttl"] == nil || checks["service:web-2:ttl"].Status != "passing" {
			return fmt.Errorf("%d checks, %w", len(checks), err)
		}
		return nil
	})
	began := time.Now()
	leaving, stop := context.WithTimeout(t.Context(), 4*time.Second)
	defer stop()
	err = second.Withdraw(leaving, "draining")
	t.Logf("withdrawn without a leader in %v: %v", time.Since(began).Round(time.Millisecond), err)
	if time.Since(began) > 10*time.Second {
		t.Error("that held it up")
	}
	// Consul carries out what it was told when it comes to it, also where nobody waits for the answer any more.
	consultest.Eventually(t, time.Minute, func() error {
		checks, err := c.Client.Agent().Checks()
		if err != nil || checks["service:web-2:ttl"] == nil || checks["service:web-2:ttl"].Output != "draining" {
			return fmt.Errorf("%d checks, %w", len(checks), err)
		}
		return nil
	})

	c.Kill()
	peers(me)
	c.MustRestart(t)
	status(t, c, webPasses+"web-2 127.0.0.9:81 critical;")
}

// TestRealToken: what was registered with a token that is deleted is registered again with the next one, and Consul keeps
// it in the catalog again.
func TestRealToken(t *testing.T) {
	t.Parallel()
	const root = "5a1f7bd0-0000-4000-8000-000000000000"
	c := consultest.Start(t, consultest.Options{Token: root, HCL: fmt.Sprintf(`
acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = %q
  }
}
`, root)})
	consultest.Eventually(t, 20*time.Second, func() error {
		_, _, err := c.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: "web", Rules: `service "web" { policy = "write" }
node_prefix "" { policy = "read" }`}, nil)
		return err
	})
	file := filepath.Join(t.TempDir(), "token")
	give := func() (accessor string) {
		token, _, err := c.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: "web"}}}, nil)
		if err == nil {
			err = os.WriteFile(file+".new", []byte(token.SecretID), 0o600)
		}
		if err == nil {
			err = os.Rename(file+".new", file)
		}
		if err != nil {
			t.Fatal(err)
		}
		return token.AccessorID
	}
	first := give()
	client, link, err := consulclient.NewLinked(settings.Consul{Address: c.URL(), TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	var ready atomic.Bool
	ready.Store(true)
	r := New(client, Options{Logger: logTo(t), Registry: reg, Tokens: link.Tokens, Health: func() Health { return Health{Passing: ready.Load()} }})
	start(t, r, webTTL())
	status(t, c, webPasses)

	if _, err := c.Client.ACL().TokenDelete(first, nil); err != nil {
		t.Fatal(err)
	}
	consultest.Eventually(t, 30*time.Second, func() error {
		if value(t, reg, "argosy_registration_errors_total", "beat") == 0 {
			return fmt.Errorf("no beat has failed")
		}
		return nil
	})
	give()
	// Only with the new token does what the check says reach the catalog.
	consultest.Eventually(t, 30*time.Second, func() error {
		if !r.Registered() || link.Tokens() != 1 {
			return fmt.Errorf("registered %v, tokens %d", r.Registered(), link.Tokens())
		}
		return nil
	})
	ready.Store(false)
	status(t, c, webCritical)
	ready.Store(true)
	status(t, c, webPasses)
}

// TestRealCrowd: where Consul takes no more connections from this address, those that beat are there already.
func TestRealCrowd(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{HCL: "limits {\n  http_max_conns_per_client = 20\n}\n"})
	reg := prometheus.NewRegistry()
	r := New(c.ClientWith(t, ""), Options{Logger: logTo(t), Registry: reg})
	start(t, r, webTTL())
	status(t, c, webPasses)
	for range 25 {
		conn, err := net.Dial("tcp", c.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	refused := func() bool {
		fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := fresh.Get(c.URL() + "/v1/status/leader")
		if err != nil {
			return true
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusTooManyRequests
	}
	consultest.Eventually(t, 20*time.Second, func() error {
		if !refused() {
			return fmt.Errorf("Consul takes another connection")
		}
		return nil
	})
	beats := func() float64 { return value(t, reg, "argosy_registration_beat_timestamp_seconds", "in") }
	began := beats()
	consultest.Eventually(t, 30*time.Second, func() error {
		if b := beats(); b < began+5 { // longer than the TTL
			return fmt.Errorf("the last beat was %v after the first", b-began)
		}
		return nil
	})
	if n := value(t, reg, "argosy_registration_errors_total", "beat"); n != 0 || !refused() {
		t.Errorf("%v beats failed", n)
	}
	if err := r.Withdraw(t.Context(), "draining"); err != nil {
		t.Error(err)
	}
}

// TestRealKindOfCheckChanges: nothing is left of a check of another kind, which would go on saying what it says.
func TestRealKindOfCheckChanges(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	asked := webTTL()
	asked.Check, asked.CheckURL, asked.CheckInterval = HTTP, c.URL()+"/v1/status/leader", time.Second
	failing := asked
	failing.CheckURL = c.URL() + "/v1/agent/health/service/id/nobody"
	for _, s := range []struct{ before, after Service }{{webTTL(), asked}, {failing, webTTL()}} {
		stop := start(t, New(c.Client, Options{Logger: logTo(t)}), s.before)
		consultest.Eventually(t, 20*time.Second, func() error {
			all, _, err := c.Client.Health().Service("web", "", false, nil)
			if err == nil && len(all) != 1 {
				err = fmt.Errorf("%d instances", len(all))
			}
			return err
		})
		stop()
		stop = start(t, New(c.Client, Options{Logger: logTo(t)}), s.after)
		status(t, c, webPasses)
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // longer than the TTL
			if all, _, err := c.Client.Health().Service("web", "", false, nil); err != nil || shown(all) != webPasses {
				t.Fatalf("from %s to %s: %s, %v", s.before.Check, s.after.Check, shown(all), err)
			}
		}
		stop()
	}
}

// TestRealMissingRule: a token that may not register says which rule it lacks, and one that may needs no other.
func TestRealMissingRule(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{HCL: consultest.Deny, Token: consultest.Root})
	const write = `service "web" { policy = "write" }`
	for rules, want := range map[string]string{
		`service_prefix "" { policy = "read" }`: "add to its policy: " + write,
		`node_prefix "" { policy = "read" }`:    "add to its policy: " + write,
		write:                                   "",
	} {
		var mu sync.Mutex
		var log bytes.Buffer
		r := New(c.ClientWith(t, c.Grant(t, rules)), Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &mu})})
		stop := start(t, r, webTTL())
		consultest.Eventually(t, 20*time.Second, func() error {
			mu.Lock()
			defer mu.Unlock()
			said := strings.ReplaceAll(log.String(), `\"`, `"`)
			if want == "" && !r.Registered() || !strings.Contains(said, want) {
				return fmt.Errorf("with %s: registered %v, not said %q:\n%s", rules, r.Registered(), want, said)
			}
			return nil
		})
		stop()
	}
}
