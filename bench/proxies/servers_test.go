//go:build servers && linux

package proxies

import (
	"slices"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// Scenarios run, in small, and come to figures that can be: with one proxy, with TLS, and with mTLS beside Consul's own.
func TestRun(t *testing.T) {
	binary, err := stack.Build(t.Context(), "./cmd/argosy")
	if err != nil {
		t.Fatal(err)
	}
	s := Settings{
		Argosy: binary, Rounds: 1, Slice: 200 * time.Millisecond, Rest: 200 * time.Millisecond, Idle: 20, Churn: 200,
		Peers: []string{"direct", "argosy", "consul"}, Progress: t.Output(),
	}
	report, err := Run(t.Context(), s, []string{"connections", "handshakes-tls", "bulk-mtls", "idle", "latency", "churn", "process"})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != 7 {
		t.Fatalf("%d results", len(report.Results))
	}
	for _, r := range report.Results {
		if len(r.Notes) > 0 || !slices.Contains(r.peerNames(), "argosy") {
			t.Errorf("%s: %v, %v", r.Name, r.peerNames(), r.Notes)
		}
		if slices.Contains(r.peerNames(), "consul") != (r.Name == "bulk-mtls") {
			t.Errorf("%s: %v", r.Name, r.peerNames())
		}
	}
	for _, c := range [][2]string{{"connections", "connections"}, {"handshakes-tls", "resumed handshakes"}, {"bulk-mtls", "8 streams"}, {"latency", "p50"}, {"process", "memory"}} {
		f := report.figure(c[0], c[1])
		if f == nil || f.series("argosy") == nil || middle(f.series("argosy")) <= 0 {
			t.Errorf("%s of %s: %+v", c[1], c[0], f)
		}
	}
	if f := report.figure("churn", "descriptors left"); f == nil || middle(f.series("argosy")) > 5 {
		t.Errorf("%+v", f)
	}
}

// A proxy that does not start is reported; the others are measured.
func TestRunWithoutAProxy(t *testing.T) {
	s := Settings{Argosy: "/bin/false", Rounds: 2, Slice: 100 * time.Millisecond, Peers: []string{"direct", "argosy"}, Progress: t.Output()}
	report, err := Run(t.Context(), s, []string{"connections"})
	if err != nil || len(report.Results) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	r := report.Results[0]
	if names := r.peerNames(); len(names) != 1 || names[0] != "direct" || len(r.Notes) != 1 || len(r.Figures[0].series("direct")) != 2 {
		t.Errorf("%v, %v", names, r.Notes)
	}
}
