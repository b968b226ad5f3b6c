//go:build servers

package consul

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/consultest"
)

// Most instances are gone from one answer to the next: they stay for a while, and then they are gone.
func TestRealMassRemoval(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	change := func(verb api.ServiceOp, ports ...int) {
		t.Helper()
		var ops api.TxnOps
		for _, p := range ports {
			ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{Verb: verb, Node: "far",
				Service: api.AgentService{ID: fmt.Sprint("web", p), Service: "web", Port: p, Address: "127.0.0.9"}}})
		}
		if ok, resp, _, err := c.Client.Txn().Txn(ops, nil); err != nil || !ok {
			t.Fatal(ok, resp, err)
		}
	}
	if _, err := c.Client.Catalog().Register(&api.CatalogRegistration{Node: "far", Address: "10.0.0.1"}, nil); err != nil {
		t.Fatal(err)
	}
	change(api.ServiceSet, 1, 2, 3, 4, 5)
	o := usual
	o.GuardHold, o.GuardShare = 3*time.Second, 0.5
	w := follow(t, c.Client, o, "/dc1/web")
	const all = "127.0.0.9:1 127.0.0.9:2 127.0.0.9:3 127.0.0.9:4 127.0.0.9:5"
	w.expect(t, all)
	change(api.ServiceDelete, 1) // one by one is believed
	w.expect(t, strings.TrimPrefix(all, "127.0.0.9:1 "))
	change(api.ServiceSet, 1)
	w.expect(t, all)
	change(api.ServiceDelete, 1, 2, 3, 4)
	w.expect(t, all+" stale")
	w.expect(t, "127.0.0.9:5") // after GuardHold
	change(api.ServiceSet, 1, 2, 3, 4)
	w.expect(t, all)
	change(api.ServiceDelete, 1, 2, 3, 4)
	w.expect(t, all+" stale")
	change(api.ServiceSet, 1, 2, 3, 4)
	w.expect(t, all)
	change(api.ServiceDelete, 1, 2, 3, 4, 5) // all of them: the same, and then nothing
	w.expect(t, all+" stale")
	w.expect(t, "~")
}

// After a restart of Consul checks pass again one by one. The first instance that does is not the whole set.
func TestRealFirstCheckAfterARestart(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Keep: true})
	for i, interval := range []string{"1s", "9s"} {
		id := fmt.Sprintf("web%d", i+1)
		r := service("web", id, i+1)
		r.Check = &api.AgentServiceCheck{CheckID: "check-" + id, HTTP: c.URL() + "/v1/status/leader", Interval: interval, Timeout: "1s", Status: "passing"}
		c.Register(t, r)
	}
	o := usual
	o.HoldEmpty, o.GuardHold, o.GuardShare = 20*time.Second, 20*time.Second, 0.5
	w := follow(t, c.Client, o, "/dc1/web")
	const both = "127.0.0.9:1 127.0.0.9:2"
	w.expect(t, both)
	c.Kill()
	w.expect(t, both+" stale")
	c.MustRestart(t)
	w.expect(t, both)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := 1; i < len(w.history); i++ {
		if strings.HasPrefix(w.history[i-1], both) && !strings.HasPrefix(w.history[i], both) {
			t.Errorf("an instance was dropped: %q", w.history)
		}
	}
}
