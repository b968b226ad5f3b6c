package namerd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"argosy/namer"
	"argosy/namerd"
)

// polled is what linkerd-tcp reads of an answer to resolve. Its reader wants every field, and no other types.
type polled struct {
	Type  *string
	Addrs *[]struct {
		IP   *netip.Addr `json:"ip"` // one that is no literal makes its thread panic
		Port *uint16
		Meta *struct {
			Authority, NodeName *string
			Weight              *float64 `json:"endpoint_addr_weight"`
		}
	}
	Meta *map[string]string
}

// poll returns the endpoints with their weights, or why linkerd-tcp keeps those that it has.
func poll(t *testing.T, address, dst string) (map[string]float64, error) {
	t.Helper()
	r, body := send(t, address, "GET", "/api/1/resolve/default?path="+dst, "", "Accept-Encoding: identity")
	if r.StatusCode != 200 {
		return nil, fmt.Errorf("status %d", r.StatusCode)
	}
	var p polled
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		return nil, fmt.Errorf("read %s: %w", body, err)
	}
	if p.Type == nil || *p.Type != "bound" || p.Addrs == nil || p.Meta == nil {
		return nil, fmt.Errorf("not bound: %s", body)
	}
	out := map[string]float64{}
	for _, a := range *p.Addrs {
		if a.IP == nil || a.Port == nil || a.Meta == nil {
			return nil, fmt.Errorf("not an address: %s", body)
		}
		weight := 1.0
		if a.Meta.Weight != nil {
			weight = *a.Meta.Weight
		}
		out[netip.AddrPortFrom(*a.IP, *a.Port).String()] = weight
	}
	return out, nil
}

// TestLinkerdTCP polls as linkerd-tcp does, which goes on with its last endpoints at everything but a bound set.
func TestLinkerdTCP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	must(t, w.tables.Put(t.Context(), "default", parse("/svc=>/#/io.l5d.namer ; /svc/both=>9*/svc/foo & /svc/rich")))
	w.namer.SetAddr("rich", namer.Addr{Status: namer.OK, Meta: map[string]string{"authority": "acme.co"}, Endpoints: []namer.Endpoint{
		{Addr: "10.0.0.1:80", Weight: 0.5, Meta: map[string]string{"node": "n1", "authority": "x", "dc": "dc1"}},
		{Addr: "[2001:db8::1]:80", Weight: 3}, {Addr: "/run/x.sock", Weight: 1}, {Addr: "[fe80::1%lo]:80", Weight: 1}}})
	w.namer.SetAddr("zeros", namer.Addr{Status: namer.OK, Endpoints: []namer.Endpoint{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80", Weight: 1e-60}}})
	w.namer.SetEndpoints("empty")
	w.namer.Remove("none")
	w.namer.Fail("broken", errors.New("no cluster leader"))
	w.namer.SetAddr("bad", namer.Addr{Status: namer.Failed, Err: errors.New("malformed address: x")})
	rich := map[string]float64{"10.0.0.1:80": 0.5, "[2001:db8::1]:80": 3}
	for dst, want := range map[string]map[string]float64{
		"%2Fsvc%2Ffoo": {"127.0.0.1:1": 1}, "%2Fsvc%2Frich": rich, "%2Fsvc%2Fempty": {},
		"%2Fsvc%2Fzeros": {"10.0.0.1:80": 1, "10.0.0.2:80": 1}, // it would divide by zero, and panic
		"%2Fsvc%2Fnone":  nil, "%2Fsvc%2Fbroken": nil, "%2Fsvc%2Fbad": nil, "%2F$%2Ffail": nil, "%2F$%2Fnil": nil, "": nil,
	} {
		got, err := poll(t, w.address, dst)
		if fmt.Sprint(got) != fmt.Sprint(want) || (err == nil) != (want != nil) {
			t.Errorf("%s: %v %v, want %v", dst, got, err, want)
		}
	}
	seen := map[string]bool{}
	await(t, func() bool { // both branches come, one at a time, and no weight of the union among the strings of meta
		got, err := poll(t, w.address, "%2Fsvc%2Fboth")
		must(t, err)
		seen[fmt.Sprint(got)] = true
		return len(seen) == 2
	})
	if !seen[fmt.Sprint(rich)] || !seen["map[127.0.0.1:1:1]"] {
		t.Error(seen)
	}
}
