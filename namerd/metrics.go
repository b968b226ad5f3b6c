package namerd

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	watchers *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, namespaces func() float64) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_namerd_requests_total",
			Help: "Requests answered, by route, method and status. Streams count when they end.",
		}, []string{"route", "method", "code"}),
		watchers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_namerd_watchers",
			Help: "Open streams, by route: dtab follows one table, dtabs the list of namespaces.",
		}, []string{"route"}),
	}
	for _, route := range []string{"dtab", "dtabs", "bind", "addr", "resolve", "bound-names"} {
		m.watchers.WithLabelValues(route)
	}
	reg.MustRegister(m.requests, m.watchers, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "argosy_namerd_namespaces",
		Help: "Namespaces in the store; -1 while it does not answer.",
	}, namespaces))
	return m
}

// count counts what serve answers; serve returns its route. Labels must not grow with what clients send.
func (m *metrics) count(serve func(http.ResponseWriter, *http.Request) string) http.Handler {
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if !slices.Contains(methods, method) {
			method = "other"
		}
		status := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		route := serve(status, r)
		m.requests.WithLabelValues(route, method, strconv.Itoa(status.code)).Inc()
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	code  int
	wrote bool
}

func (w *statusWriter) WriteHeader(code int) {
	if !w.wrote {
		w.code, w.wrote = code, true
	}
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController flush and set deadlines.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
