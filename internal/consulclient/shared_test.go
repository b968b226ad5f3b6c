package consulclient

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/settings"
)

func TestSharedClients(t *testing.T) {
	clearEnv(t)
	reg := prometheus.NewRegistry()
	get := func(address string, reg prometheus.Registerer) *api.Client {
		t.Helper()
		c, err := Shared(settings.Consul{Address: address}, hclog.NewNullLogger(), reg)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := get("127.0.0.1:1", reg)
	if get("127.0.0.1:1", reg) != first {
		t.Error("the same settings make another client")
	}
	alone := get("127.0.0.1:1", nil)
	if get("127.0.0.1:2", reg) == first || get("127.0.0.1:1", prometheus.NewRegistry()) == first || get("127.0.0.1:1", nil) == alone {
		t.Error("other settings, registries or none make the same client")
	}
	for i := range 3 * mostShared {
		get(fmt.Sprint("127.0.0.1:", 1000+i), reg)
	}
	all := &clients{alarm: newAlarm(hclog.NewNullLogger())}
	if err := reg.Register(all); err == nil {
		t.Error("the clients are not in the registry")
	} else if known := err.(prometheus.AlreadyRegisteredError).ExistingCollector.(*clients); len(known.made) > mostShared {
		t.Errorf("%d clients are remembered", len(known.made))
	}
}

// gauge is the value of a metric with its labels, as in argosy_consul_denied{request="leaf"}.
func gauge(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s of %q", name, label)
	return 0
}

// A refusal says which rule is missing, and raises an alarm until the same request is answered.
func TestRefusals(t *testing.T) {
	clearEnv(t)
	var refuse atomic.Bool
	refuse.Store(true)
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "2")
		w.Header().Set("X-Consul-LastContact", "0") // without it, the library reads no further
		switch {
		case !refuse.Load() || strings.HasSuffix(r.URL.Path, "/open"):
			w.Write([]byte(`[{"Node":{},"Service":{}}]`))
		case strings.HasPrefix(r.URL.Path, "/v1/health/"):
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
			w.Write([]byte("[]"))
		default:
			http.Error(w, `Permission denied: token with AccessorID '1' lacks permission 'service:write' on "web"`, http.StatusForbidden)
		}
	})
	reg, log := prometheus.NewRegistry(), &bytes.Buffer{}
	c, err := Shared(settings.Consul{Address: s.URL}, hclog.New(&hclog.LoggerOptions{Output: log}), reg)
	if err != nil {
		t.Fatal(err)
	}
	leaf := func() error {
		var ignored any
		_, err := c.Raw().Query("/v1/agent/connect/ca/leaf/web", &ignored, nil)
		return err
	}
	const denied = "argosy_consul_denied"
	for range 2 {
		if err := leaf(); err == nil || !strings.Contains(err.Error(), `403 (Permission denied: token with AccessorID '1' lacks permission 'service:write' on "web"; add to its policy: service "web" { policy = "write" })`) {
			t.Errorf("got %v", err)
		}
		entries, meta, err := c.Health().Service("web", "", false, nil)
		if err != nil || len(entries) != 0 || !meta.ResultsFilteredByACLs {
			t.Errorf("got %v, %+v, %v", entries, meta, err)
		}
	}
	if gauge(t, reg, denied, "leaf") != 1 || gauge(t, reg, denied, "catalog") != 1 || gauge(t, reg, denied, "kv") != 0 {
		t.Error("the alarm is not what is refused")
	}
	if n := strings.Count(log.String(), "[ERROR]"); n != 2 {
		t.Errorf("%d lines in the log:\n%s", n, log)
	}
	if gauge(t, reg, "argosy_consul_connections", "") < 1 {
		t.Error("no connection is counted")
	}
	// Another request of the kind that is answered does not end it.
	if entries, _, err := c.Health().Service("open", "", false, nil); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v", entries, err)
	}
	if gauge(t, reg, denied, "catalog") != 1 {
		t.Error("one service that may be seen ends the alarm of another")
	}
	refuse.Store(false)
	if err := leaf(); err != nil {
		t.Error(err)
	}
	if gauge(t, reg, denied, "leaf") != 0 || gauge(t, reg, denied, "catalog") != 1 {
		t.Error("the alarm is not what is refused")
	}
	if !strings.Contains(log.String(), "[INFO]") {
		t.Errorf("the log does not tell of the end:\n%s", log)
	}
}

// What nobody asks for any more is not refused for ever, and what anybody may ask for is not remembered for ever.
func TestAlarmForgets(t *testing.T) {
	a := newAlarm(hclog.NewNullLogger())
	for i := range 3 * mostRefused {
		a.note("GET", fmt.Sprint("/v1/health/connect/x", i), 403, "Permission denied")
	}
	if len(a.refused) != mostRefused {
		t.Errorf("%d are remembered", len(a.refused))
	}
	if refused := a.calm(time.Now()); !refused[kindCatalog] {
		t.Error("calm at once")
	}
	if refused := a.calm(time.Now().Add(refusedFor + time.Second)); len(refused) != 0 || len(a.refused) != 0 {
		t.Errorf("still refused: %v", refused)
	}
	a.note("GET", "/v1/kv/x", 500, "")
	a.note("GET", "/v1/kv/x", 403, "Permission denied")
	a.note("GET", "/v1/kv/x", 500, "")
	if refused := a.calm(time.Now()); !refused[kindKV] {
		t.Error("a Consul without a leader gives rights")
	}
}
