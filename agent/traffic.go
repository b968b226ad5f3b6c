package agent

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/balance"
	"argosy/agent/relay"
	"argosy/namer"
)

const (
	// endpointSeries is how many endpoints of one cluster have series of their own. The others are counted together.
	endpointSeries = 100
	otherEndpoints = "other"
)

// endpointMetrics are those of one endpoint of one cluster of one destination, or of all that have none of their own.
// They are guarded by metrics.mu.
type endpointMetrics struct {
	cluster *clusterMetrics
	address string
	gone    bool // not in the newest binding
	open    int  // connections
	opened  uint64
	traffic []*traffic
	before  volume // of traffic that is no more
}

// traffic counts what goes between one listener and one endpoint. Its meter is the parent of those of its connections: the
// bytes of listeners, clusters and endpoints are sums of these, so that each byte that moves is counted only twice.
type traffic struct {
	meter    relay.Meter
	listener *listenerMetrics
	endpoint *endpointMetrics
}

// volume is a number of bytes.
type volume struct{ in, out int64 }

func (v *volume) add(w volume) {
	v.in += w.in
	v.out += w.out
}

func (f *traffic) volume() volume { return volume{f.meter.In.Load(), f.meter.Out.Load()} }

// connected notes a new connection to an endpoint, whose end disconnected notes.
func (m *metrics) connected(l *listenerMetrics, destination, cluster, address string) *traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clusterLocked(destination, cluster)
	c.open++
	c.opened.Inc()
	c.active.Inc()
	e := c.endpoint(address)
	e.open++
	e.opened++
	for _, f := range e.traffic {
		if f.listener == l {
			return f
		}
	}
	f := &traffic{listener: l, endpoint: e}
	e.traffic = append(e.traffic, f)
	return f
}

// observe notes how long a connection was open, and how long its endpoint took for its first byte, 0 if there was none.
func (c *clusterMetrics) observe(whole, answered time.Duration) {
	c.duration.Observe(whole.Seconds())
	if answered > 0 {
		c.firstByte.Observe(answered.Seconds())
	}
}

func (m *metrics) disconnected(f *traffic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := f.endpoint
	e.cluster.open--
	e.cluster.active.Dec()
	if e.open--; e.gone && e.open == 0 {
		e.forget()
	}
}

// endpoint returns the metrics of an endpoint that has connections. It makes them if there is room.
func (c *clusterMetrics) endpoint(address string) *endpointMetrics {
	if e := c.byAddress[address]; e != nil {
		return e
	}
	if c.rest.address == wireCluster || len(c.byAddress) >= endpointSeries || !utf8.ValidString(address) {
		return c.rest
	}
	if c.byAddress == nil {
		c.byAddress = map[string]*endpointMetrics{}
	}
	// It stands in no binding that has been seen here, or did not have room then.
	e := &endpointMetrics{cluster: c, address: address, gone: true}
	c.byAddress[address] = e
	return e
}

// list notes the endpoints that the cluster has now, of several parts in the order of their addresses.
func (c *clusterMetrics) list(parts []namer.Addr) {
	has := func(address string) bool {
		for _, p := range parts {
			if _, ok := slices.BinarySearchFunc(p.Endpoints, address, func(e namer.Endpoint, a string) int { return strings.Compare(e.Addr, a) }); ok {
				return true
			}
		}
		return false
	}
	for address, e := range c.byAddress {
		if e.gone = !has(address); e.gone && e.open == 0 {
			e.forget()
		}
	}
	for _, p := range parts {
		for _, e := range p.Endpoints {
			if len(c.byAddress) >= endpointSeries {
				return
			}
			if m := c.endpoint(e.Addr); m != c.rest {
				m.gone = false
			}
		}
	}
}

// forget ends the series of an endpoint. What it has moved stays in the sums.
func (e *endpointMetrics) forget() {
	v := e.before
	for _, f := range e.traffic {
		v.add(f.volume())
		f.listener.before.add(f.volume())
	}
	e.traffic = nil
	e.cluster.before.add(v)
	delete(e.cluster.byAddress, e.address)
}

// all returns the endpoints that have series.
func (c *clusterMetrics) all() []*endpointMetrics {
	all := make([]*endpointMetrics, 0, len(c.byAddress)+1)
	for _, e := range c.byAddress {
		all = append(all, e)
	}
	if c.rest.opened > 0 {
		all = append(all, c.rest)
	}
	return all
}

// forgetTraffic leaves what the traffic of a cluster was to their listeners.
func (c *clusterMetrics) forgetTraffic() {
	for _, e := range c.all() {
		e.forget()
	}
}

// forgetListenerTraffic leaves what the traffic of a listener was to their endpoints.
func (m *metrics) forgetListenerTraffic(l *listenerMetrics) {
	for _, clusters := range m.clusters {
		for _, c := range clusters {
			for _, e := range c.all() {
				e.traffic = slices.DeleteFunc(e.traffic, func(f *traffic) bool {
					if f.listener == l {
						e.before.add(f.volume())
					}
					return f.listener == l
				})
			}
		}
	}
}

// parts are the clusters of a binding that have a name, by key. One may stand in it several times.
func partsOf(clusters []namer.Cluster) map[string][]namer.Addr {
	parts := map[string][]namer.Addr{}
	for _, c := range clusters {
		if len(c.ID) > 0 {
			key := balance.Key(c.ID)
			parts[key] = append(parts[key], c.Addr)
		}
	}
	return parts
}

// trafficCollector reports bytes, which count while connections live, and the connections of endpoints.
type trafficCollector struct {
	metrics                                   *metrics
	bytes, clusterBytes, endpointBytes        *prometheus.Desc
	endpointConnections, endpointOpenedTotals *prometheus.Desc
}

func newTrafficCollector(m *metrics) *trafficCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &trafficCollector{
		metrics: m,
		bytes:   desc("argosy_bytes_total", "Bytes passed on: in is from clients to endpoints.", "listener", "direction"),
		clusterBytes: desc("argosy_cluster_bytes_total", "Bytes passed on between clients and a cluster: in is from clients.",
			"destination", "cluster", "direction"),
		endpointBytes: desc("argosy_endpoint_bytes_total", "Bytes passed on between clients and an endpoint: in is from clients.",
			"destination", "cluster", "endpoint", "direction"),
		endpointConnections: desc("argosy_endpoint_connections_active", "Open connections to an endpoint.",
			"destination", "cluster", "endpoint"),
		endpointOpenedTotals: desc("argosy_endpoint_connections_opened_total", "Connections opened to an endpoint.",
			"destination", "cluster", "endpoint"),
	}
}

// Describe implements prometheus.Collector.
func (t *trafficCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{t.bytes, t.clusterBytes, t.endpointBytes, t.endpointConnections, t.endpointOpenedTotals} {
		ch <- d
	}
}

// sample is one value of a series.
type sample struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	value  float64
	labels []string
}

// Collect implements prometheus.Collector.
func (t *trafficCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range t.read() { // whoever collects may be slow, and connections must not wait for that
		ch <- prometheus.MustNewConstMetric(s.desc, s.kind, s.value, s.labels...)
	}
}

func (t *trafficCollector) read() []sample {
	m := t.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	var samples []sample
	count := func(d *prometheus.Desc, v volume, labels ...string) {
		samples = append(samples,
			sample{d, prometheus.CounterValue, float64(v.in), append(slices.Clip(labels), "in")},
			sample{d, prometheus.CounterValue, float64(v.out), append(slices.Clip(labels), "out")})
	}
	listeners := make(map[*listenerMetrics]volume, len(m.listeners))
	for destination, clusters := range m.clusters {
		for key, c := range clusters {
			total := c.before
			for _, e := range c.all() {
				own := e.before
				for _, f := range e.traffic {
					v := f.volume()
					own.add(v)
					l := listeners[f.listener]
					l.add(v)
					listeners[f.listener] = l
				}
				total.add(own)
				labels := []string{destination, key, e.address}
				count(t.endpointBytes, own, labels...)
				samples = append(samples,
					sample{t.endpointConnections, prometheus.GaugeValue, float64(e.open), labels},
					sample{t.endpointOpenedTotals, prometheus.CounterValue, float64(e.opened), labels})
			}
			count(t.clusterBytes, total, destination, key)
		}
	}
	for name, l := range m.listeners {
		v := l.before
		v.add(listeners[l])
		count(t.bytes, v, strings.ToValidUTF8(name, "?"))
	}
	return samples
}
