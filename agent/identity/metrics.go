package identity

import (
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/promx"
)

// metrics are shared by all Connect identities of one registry.
type metrics struct {
	expiry     *prometheus.GaugeVec
	roots      *prometheus.GaugeVec
	rootExpiry *prometheus.GaugeVec
	rotations  *prometheus.CounterVec
	answered   *prometheus.GaugeVec
	errors     *prometheus.CounterVec
	refused    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		expiry: promx.Registered(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_identity_certificate_expiry_timestamp_seconds",
			Help: "When the Connect certificate in use ends.",
		}, []string{"service"})),
		roots: promx.Registered(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_identity_roots",
			Help: "Roots whose certificates are accepted of peers: more than one while they are rotated.",
		}, []string{"service"})),
		rootExpiry: promx.Registered(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_identity_root_expiry_timestamp_seconds",
			Help: "When the certificate of the root that signs now ends.",
		}, []string{"service"})),
		rotations: promx.Registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_identity_rotations_total",
			Help: "New certificates (leaf) and changes of the roots that took the place of others.",
		}, []string{"service", "what"})),
		answered: promx.Registered(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_identity_answered_timestamp_seconds",
			Help: "When Consul last gave a good answer about an identity: leaf, roots, intentions, authorize, or mesh, which has no service.",
		}, []string{"service", "request"})),
		errors: promx.Registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_identity_errors_total",
			Help: "Requests to Consul about an identity that failed.",
		}, []string{"service", "request"})),
		refused: promx.Registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_identity_refused_total",
			Help: "Clients refused because of their certificate or an intention.",
		}, []string{"service"})),
	}
}

// forget takes away what is told of an identity that has ended: nobody is to be alarmed about its certificate. What has been
// counted stays.
func (m *metrics) forget(service string) {
	for _, g := range []*prometheus.GaugeVec{m.expiry, m.roots, m.rootExpiry, m.answered} {
		g.DeletePartialMatch(prometheus.Labels{"service": service})
	}
}

// newFileMetrics makes what all identities from files of one registry share.
func newFileMetrics(reg prometheus.Registerer) *prometheus.GaugeVec {
	return promx.Registered(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "argosy_identity_file_expiry_timestamp_seconds",
		Help: "When the certificate in use from a file ends.",
	}, []string{"file"}))
}
