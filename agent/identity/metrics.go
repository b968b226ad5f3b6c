package identity

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all Connect identities of one registry.
type metrics struct {
	expiry   *prometheus.GaugeVec
	answered *prometheus.GaugeVec
	errors   *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_identity_certificate_expiry_timestamp_seconds",
			Help: "When the Connect certificate in use ends.",
		}, []string{"service"}),
		answered: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_identity_answered_timestamp_seconds",
			Help: "When Consul last gave a good answer about an identity: leaf, roots, intentions or authorize.",
		}, []string{"service", "request"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_identity_errors_total",
			Help: "Requests to Consul about an identity that failed.",
		}, []string{"service", "request"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_identity_refused_total",
			Help: "Clients refused because of their certificate or an intention.",
		}, []string{"service"}),
	}
	if reg != nil {
		m.expiry, m.answered = registered(reg, m.expiry), registered(reg, m.answered)
		m.errors, m.refused = registered(reg, m.errors), registered(reg, m.refused)
	}
	return m
}

// registered returns the collector of that name that the registry has, which may be an earlier identity's.
func registered[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	var already prometheus.AlreadyRegisteredError
	if errors.As(reg.Register(c), &already) {
		if earlier, ok := already.ExistingCollector.(C); ok {
			return earlier
		}
	}
	return c
}
