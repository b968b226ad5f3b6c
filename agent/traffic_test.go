package agent

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/agent/outcome"
	"argosy/dtab"
	"argosy/namer"
)

// TestTrafficLive: bytes of listener, cluster and endpoint count while the connection lives, and stay when it is over.
func TestTrafficLive(t *testing.T) {
	one := startBackend(t, "one")
	cfg := baseConfig(map[string][]string{"redis": {one.addr}})
	cfg.Listeners = []config.Listener{listenerTo("a", "/svc/redis"), listenerTo("b", "/svc/redis")}
	p := startAgent(t, cfg)
	of := func(name string, more ...string) string {
		labels := append([]string{`cluster="/#/static/redis"`, `destination="/svc/redis"`}, more...)
		return name + "{" + strings.Join(labels, ",") + "}"
	}
	endpoint := fmt.Sprintf("endpoint=%q", one.addr)
	p.expectMetric(of("argosy_endpoint_connections_opened_total", endpoint), 0) // before the first connection
	p.expectMetric(of("argosy_endpoint_bytes_total", `direction="in"`, endpoint), 0)

	first, _ := p.dial("a")
	echo(t, first, "12345")
	second, _ := p.dial("b")
	echo(t, second, "1234567890")
	for series, want := range map[string]float64{
		of("argosy_endpoint_connections_active", endpoint):               2,
		of("argosy_endpoint_connections_opened_total", endpoint):         2,
		of("argosy_endpoint_bytes_total", `direction="in"`, endpoint):    15,
		of("argosy_endpoint_bytes_total", `direction="out"`, endpoint):   15 + 8,
		of("argosy_cluster_bytes_total", `direction="in"`):               15,
		`argosy_bytes_total{direction="in",listener="a"}`:                5,
		`argosy_bytes_total{direction="in",listener="b"}`:                10,
		of("argosy_connection_duration_seconds_count"):                   0,
		of("argosy_first_byte_seconds_count"):                            0,
		`argosy_access_log_dropped_total`:                                0,
		`argosy_connections_closed_total{listener="a",outcome="closed"}`: 0,
	} {
		p.expectMetric(series, want)
	}
	for _, c := range []net.Conn{first, second} {
		c.(*net.TCPConn).CloseWrite()
		io.ReadAll(c)
	}
	p.expectMetric(of("argosy_connection_duration_seconds_count"), 2)
	p.expectMetric(of("argosy_first_byte_seconds_count"), 2)
	p.expectMetric(of("argosy_endpoint_connections_active", endpoint), 0)
	p.expectMetric(of("argosy_endpoint_bytes_total", `direction="in"`, endpoint), 15)

	// A listener that goes takes its series along, and what it has moved to the endpoint stays.
	next := *cfg
	next.Listeners = cfg.Listeners[:1]
	if err := p.agent.Reload(&next); err != nil {
		t.Fatal(err)
	}
	p.expectMetric(`argosy_bytes_total{direction="in",listener="b"}`, -1)
	p.expectMetric(of("argosy_endpoint_bytes_total", `direction="in"`, endpoint), 15)
}

// series reads the samples of the collector by their labels.
func series(t *trafficCollector, desc *prometheus.Desc) map[string]float64 {
	all := map[string]float64{}
	for _, s := range t.read() {
		if s.desc == desc {
			all[strings.Join(s.labels, " ")] = s.value
		}
	}
	return all
}

func addrs(from, to int) namer.Addr {
	a := namer.Addr{Status: namer.OK}
	for i := from; i < to; i++ {
		a.Endpoints = append(a.Endpoints, namer.Endpoint{Addr: fmt.Sprintf("10.0.0.1:%d", 10000+i), Weight: 1})
	}
	return a
}

// TestEndpointSeries: there are so many and no more, those of endpoints that have left end with their connections, and
// no byte is lost from the sums.
func TestEndpointSeries(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry(), "test")
	if err != nil {
		t.Fatal(err)
	}
	collector := newTrafficCollector(m)
	id := dtab.MustParsePath("/#/a")
	bind := func(addr namer.Addr) { m.bound("/svc/a", []namer.Cluster{{ID: id, Share: 1, Addr: addr}}) }
	l := m.listener("l")
	count := func(want int) {
		t.Helper()
		if got := len(series(collector, collector.endpointConnections)); got != want {
			t.Errorf("%d endpoints have series, want %d", got, want)
		}
	}
	sum := func(desc *prometheus.Desc) (n float64) {
		for _, v := range series(collector, desc) {
			n += v
		}
		return n
	}
	bind(addrs(0, 60))
	count(60)
	open := func(i int) *traffic {
		f := m.connected(l, "/svc/a", "/#/a", fmt.Sprintf("10.0.0.1:%d", 10000+i))
		f.meter.In.Add(1)
		return f
	}
	stays, leaves, leavesQuietly := open(0), open(1), open(2)
	m.disconnected(leavesQuietly)
	if again := open(0); again != stays {
		t.Error("each connection counts apart")
	}
	m.disconnected(stays)
	bind(addrs(3, 63))
	count(60 + 2) // those that left and have connections
	m.disconnected(leaves)
	count(60 + 1)
	m.disconnected(stays)
	count(60)
	if got := sum(collector.clusterBytes); got != 4 {
		t.Errorf("%v bytes of the cluster", got)
	}
	if got := sum(collector.bytes); got != 4 {
		t.Errorf("%v bytes of the listener", got)
	}

	bind(addrs(0, 1000))
	count(endpointSeries)
	other := open(999)
	if other.endpoint.address != otherEndpoints || open(998) != other {
		t.Error("beyond the cap endpoints are not counted together")
	}
	count(endpointSeries + 1)
	if got := series(collector, collector.endpointConnections)["/svc/a /#/a other"]; got != 2 {
		t.Errorf("%v connections to others", got)
	}
	m.disconnected(other)
	m.disconnected(other)
	bind(addrs(0, 0))
	count(1)
	if got := sum(collector.clusterBytes); got != 6 {
		t.Errorf("%v bytes of the cluster", got)
	}

	// What clients name is counted together.
	wire := m.connected(l, "/sni/*", wireCluster, "10.0.0.1:1")
	wire.meter.Out.Add(7)
	if wire.endpoint.address != wireCluster || series(collector, collector.endpointBytes)["/sni/* * * out"] != 7 {
		t.Errorf("series %v", series(collector, collector.endpointBytes))
	}
	// A catalog may say anything.
	if f := m.connected(l, "/svc/a", "/#/a", "/run/\xff.sock"); f.endpoint.address != otherEndpoints {
		t.Errorf("%q has series", f.endpoint.address)
	}
	m.forgetDestination("/svc/a")
	if got := sum(collector.bytes); got != 6+7 {
		t.Errorf("%v bytes of the listener", got)
	}
	m.forgetListener("l")
	if len(series(collector, collector.bytes)) != 0 || series(collector, collector.clusterBytes)["/sni/* * out"] != 7 {
		t.Error("the listener is not forgotten, or what it has moved is")
	}
}

func TestOutcomesHaveSeries(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry(), "test")
	if err != nil {
		t.Fatal(err)
	}
	l := m.listener("l")
	for _, o := range outcome.All() {
		if l.closed[o] == nil {
			t.Errorf("%s has none", o)
		}
	}
	if m.listener("l") != l {
		t.Error("a second listener of the name counts apart")
	}
}
