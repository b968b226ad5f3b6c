package agent

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/namer"
)

// BenchmarkCounting is what the books of one connection cost.
func BenchmarkCounting(b *testing.B) {
	m, err := newMetrics(prometheus.NewRegistry(), "test")
	if err != nil {
		b.Fatal(err)
	}
	l := m.listener("l")
	m.bound("/svc/a", []namer.Cluster{{ID: dtab.MustParsePath("/#/a"), Share: 1, Addr: addrs(0, 1)}})
	b.ReportAllocs()
	for b.Loop() {
		f := m.connected(l, "/svc/a", "/#/a", "10.0.0.1:10000")
		f.endpoint.cluster.observe(1e9, 1e6)
		m.disconnected(f)
	}
}
