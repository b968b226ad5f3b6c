package agent

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"argosy/agent/dial"
	"argosy/agent/listen"
	"argosy/agent/outcome"
	"argosy/namer"
)

const (
	// wireCluster is the cluster of names from outside: a label must not be made of what clients send.
	wireCluster = "*"
	// clusterSeries is how many clusters of one destination are kept in the metrics, those that have left included.
	clusterSeries = 100
)

// metrics are the agent's. Labels come from the configuration, the table and the catalog, never from the wire.
type metrics struct {
	active  *prometheus.GaugeVec
	opened  *prometheus.CounterVec
	closed  *prometheus.CounterVec
	waiting *prometheus.GaugeVec
	refused *prometheus.CounterVec

	deniedLive *prometheus.CounterVec

	clusterActive *prometheus.GaugeVec
	clusterOpened *prometheus.CounterVec
	endpoints     *prometheus.GaugeVec
	ejectedNow    *prometheus.GaugeVec
	ejections     *prometheus.CounterVec
	failures      *prometheus.CounterVec
	overBudget    *prometheus.CounterVec
	connect       *prometheus.HistogramVec
	firstByte     *prometheus.HistogramVec
	duration      *prometheus.HistogramVec

	draining prometheus.Gauge
	reloads  *prometheus.CounterVec
	unlogged prometheus.Counter

	mu        sync.Mutex
	listeners map[string]*listenerMetrics
	clusters  map[string]map[string]*clusterMetrics // by destination and cluster
}

// clusterMetrics are those of one cluster of one destination.
type clusterMetrics struct {
	active     prometheus.Gauge
	opened     prometheus.Counter
	endpoints  prometheus.Gauge
	connect    prometheus.Observer
	firstByte  prometheus.Observer
	duration   prometheus.Observer
	failures   map[string]prometheus.Counter
	overBudget prometheus.Counter
	bound      bool // in the newest binding
	open       int  // connections

	byAddress map[string]*endpointMetrics
	rest      *endpointMetrics // of the endpoints that have no series of their own
	before    volume           // of endpoints that are no more
}

// listenerMetrics are those of one listener. They stay the same over reloads.
type listenerMetrics struct {
	active, waiting prometheus.Gauge
	opened          prometheus.Counter
	closed          map[outcome.Outcome]prometheus.Counter
	refused         map[listen.Limit]prometheus.Counter
	before          volume // of traffic that is no more; guarded by metrics.mu
}

func newMetrics(reg prometheus.Registerer, version string) (*metrics, error) {
	byListener, byCluster := []string{"listener"}, []string{"destination", "cluster"}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &metrics{
		active:  gauge("argosy_connections_active", "Connections accepted and not yet closed.", byListener...),
		opened:  counter("argosy_connections_opened_total", "Connections accepted.", byListener...),
		closed:  counter("argosy_connections_closed_total", "Connections closed, by how they ended.", "listener", "outcome"),
		waiting: gauge("argosy_connections_waiting", "Connections accepted that have no endpoint yet.", byListener...),
		refused: counter("argosy_connections_refused_total", "Connections refused, by the limit that was reached.", "listener", "limit"),
		deniedLive: counter("argosy_connections_denied_live_total",
			"Open connections whose clients may not connect any more, by what was done: they were cut at once, or after a while, or kept.",
			"listener", "action"),

		clusterActive: gauge("argosy_cluster_connections_active", "Open connections to the endpoints of a cluster.", byCluster...),
		clusterOpened: counter("argosy_cluster_connections_opened_total", "Connections opened to the endpoints of a cluster.", byCluster...),
		endpoints:     gauge("argosy_endpoints", "Endpoints of a cluster that get new connections.", byCluster...),
		ejectedNow:    gauge("argosy_endpoints_ejected", "Endpoints of a cluster that get no connections because they have failed.", byCluster...),
		ejections:     counter("argosy_endpoint_ejections_total", "Endpoints ejected: dial, or reset.", "destination", "cluster", "reason"),
		failures:      counter("argosy_dial_failures_total", "Failed attempts to connect an endpoint, and refusals by its TLS server after the handshake.", "destination", "cluster", "reason"),
		overBudget: counter("argosy_retry_budget_exhausted_total", "Connections not tried at another endpoint because of the budget for retries.",
			byCluster...),
		connect: histogram("argosy_connect_seconds", "Time to connect an endpoint, its TLS handshake included.",
			[]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}, byCluster...),
		firstByte: histogram("argosy_first_byte_seconds", "Time from connecting an endpoint to its first byte.",
			[]float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, byCluster...),
		duration: histogram("argosy_connection_duration_seconds", "Time from accepting a connection to its end.",
			[]float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}, byCluster...),

		draining: prometheus.NewGauge(prometheus.GaugeOpts{Name: "argosy_draining", Help: "1 while the agent is leaving."}),
		reloads:  counter("argosy_reloads_total", "Configurations loaded after the first.", "result"),
		unlogged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "argosy_access_log_dropped_total", Help: "Lines of the access log that could not be written.",
		}),
		listeners: map[string]*listenerMetrics{}, clusters: map[string]map[string]*clusterMetrics{},
	}
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "argosy_up", Help: "1."})
	up.Set(1)
	info := gauge("argosy_build_info", "1, with the version.", "version")
	info.WithLabelValues(version).Set(1)
	m.reloads.WithLabelValues("ok")
	m.reloads.WithLabelValues("failed")
	for _, c := range []prometheus.Collector{
		m.active, m.opened, m.closed, m.waiting, m.refused, m.deniedLive, m.clusterActive, m.clusterOpened, m.endpoints, m.ejectedNow, m.ejections, m.failures,
		m.overBudget, m.connect,
		m.firstByte, m.duration, m.draining, m.reloads, m.unlogged, newTrafficCollector(m), up, info,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} { // the process may have these already
		reg.Register(c)
	}
	return m, nil
}

// listener returns the metrics of a listener, all at zero if they are new.
func (m *metrics) listener(name string) *listenerMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.listeners[name]; l != nil { // of one that has gone, and still has connections
		return l
	}
	l := &listenerMetrics{
		active: m.active.WithLabelValues(name), waiting: m.waiting.WithLabelValues(name),
		opened: m.opened.WithLabelValues(name), closed: map[outcome.Outcome]prometheus.Counter{},
	}
	m.listeners[name] = l
	l.refused = map[listen.Limit]prometheus.Counter{}
	for _, limit := range listen.AllLimits() {
		l.refused[limit] = m.refused.WithLabelValues(name, string(limit))
	}
	for _, o := range outcome.All() {
		l.closed[o] = m.closed.WithLabelValues(name, string(o))
	}
	return l
}

// forgetListener ends the series of a listener that is not configured any more.
func (m *metrics) forgetListener(name string) {
	labels := prometheus.Labels{"listener": name}
	m.active.DeletePartialMatch(labels)
	m.opened.DeletePartialMatch(labels)
	m.closed.DeletePartialMatch(labels)
	m.waiting.DeletePartialMatch(labels)
	m.refused.DeletePartialMatch(labels)
	m.deniedLive.DeletePartialMatch(labels)
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.listeners[name]; l != nil {
		m.forgetListenerTraffic(l)
		delete(m.listeners, name)
	}
}

// cluster returns the metrics of a cluster, all at zero if they are new.
func (m *metrics) cluster(destination, cluster string) *clusterMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clusterLocked(destination, cluster)
}

func (m *metrics) clusterLocked(destination, cluster string) *clusterMetrics {
	all := m.clusters[destination]
	if all == nil {
		all = map[string]*clusterMetrics{}
		m.clusters[destination] = all
	}
	if c := all[cluster]; c != nil {
		return c
	}
	for name, c := range all {
		if len(all) < clusterSeries {
			break
		}
		if !c.bound && c.open == 0 {
			c.forgetTraffic()
			m.forgetCluster(destination, name)
			delete(all, name)
		}
	}
	c := &clusterMetrics{
		active:     m.clusterActive.WithLabelValues(destination, cluster),
		opened:     m.clusterOpened.WithLabelValues(destination, cluster),
		endpoints:  m.endpoints.WithLabelValues(destination, cluster),
		connect:    m.connect.WithLabelValues(destination, cluster),
		firstByte:  m.firstByte.WithLabelValues(destination, cluster),
		duration:   m.duration.WithLabelValues(destination, cluster),
		failures:   map[string]prometheus.Counter{},
		overBudget: m.overBudget.WithLabelValues(destination, cluster),
	}
	c.rest = &endpointMetrics{cluster: c, address: otherEndpoints}
	if cluster == wireCluster {
		c.rest.address = wireCluster
	}
	for _, r := range dial.Reasons() {
		c.failures[r] = m.failures.WithLabelValues(destination, cluster, r)
	}
	all[cluster] = c
	return c
}

func (m *metrics) forgetCluster(destination, cluster string) {
	labels := prometheus.Labels{"destination": destination, "cluster": cluster}
	m.clusterActive.DeletePartialMatch(labels)
	m.clusterOpened.DeletePartialMatch(labels)
	m.endpoints.DeletePartialMatch(labels)
	m.ejectedNow.DeletePartialMatch(labels)
	m.ejections.DeletePartialMatch(labels)
	m.failures.DeletePartialMatch(labels)
	m.overBudget.DeletePartialMatch(labels)
	m.connect.DeletePartialMatch(labels)
	m.firstByte.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
}

// forgetDestination ends the series of a destination.
func (m *metrics) forgetDestination(destination string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for cluster, c := range m.clusters[destination] {
		c.forgetTraffic()
		m.forgetCluster(destination, cluster)
	}
	delete(m.clusters, destination)
}

// bound notes the clusters that a destination has now.
func (m *metrics) bound(destination string, clusters []namer.Cluster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts := partsOf(clusters)
	for key, c := range m.clusters[destination] {
		if _, there := parts[key]; !there {
			c.bound = false
			c.endpoints.Set(0)
			c.list(nil)
		}
	}
	for key, all := range parts {
		c := m.clusterLocked(destination, key)
		c.bound = true
		c.endpoints.Set(float64(len(all[len(all)-1].Endpoints)))
		c.list(all)
	}
}
