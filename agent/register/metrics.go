package register

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/promx"
)

// What is known of a service.
const (
	stateUnregistered = "unregistered" // we have not registered it yet, or not any more
	statePassing      = "passing"      // registered, and told that it can serve
	stateCritical     = "critical"     // registered, and told that it cannot
	stateExternal     = "external"     // registered by somebody else
	stateMissing      = "missing"      // to be registered by somebody else, who has not
)

// metrics are shared by all registrars of one registry.
type metrics struct {
	state  *prometheus.GaugeVec
	beat   *prometheus.GaugeVec
	errors *prometheus.CounterVec

	mu    sync.Mutex
	shown []string // listeners
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		state: promx.Registered(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_registration_state",
			Help: "1 for the state of a listener's service in Consul: unregistered, passing, critical, external or missing.",
		}, []string{"listener", "state"})),
		beat: promx.Registered(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_registration_beat_timestamp_seconds",
			Help: "When Consul last took what a listener's TTL check says.",
		}, []string{"listener"})),
		errors: promx.Registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_registration_errors_total",
			Help: "Requests to Consul about registration that failed: look, register, beat, withdraw or deregister.",
		}, []string{"request"})),
	}
	for _, request := range []string{"look", "register", "beat", "withdraw", "deregister"} {
		m.errors.WithLabelValues(request)
	}
	return m
}

func (m *metrics) failed(request string) { m.errors.WithLabelValues(request).Inc() }

// set shows the state of a service.
func (m *metrics) set(s Service, state string) {
	for _, other := range []string{stateUnregistered, statePassing, stateCritical, stateExternal, stateMissing} {
		g := m.state.WithLabelValues(s.Listener, other)
		if other == state {
			g.Set(1)
		} else {
			g.Set(0)
		}
	}
}

// tell shows the state of a service that is registered.
func (m *metrics) tell(s Service, passing bool) {
	if passing {
		m.set(s, statePassing)
	} else {
		m.set(s, stateCritical)
	}
}

// keep ends the series of all listeners but those of the services, and begins theirs.
func (m *metrics) keep(services []Service) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var now []string
	for _, s := range services {
		now = append(now, s.Listener)
		if !slices.Contains(m.shown, s.Listener) {
			m.set(s, stateUnregistered)
		}
	}
	for _, listener := range m.shown {
		if !slices.Contains(now, listener) {
			m.state.DeletePartialMatch(prometheus.Labels{"listener": listener})
			m.beat.DeleteLabelValues(listener)
		}
	}
	m.shown = now
}
