package consulclient

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// A request that is refused is made again within some minutes, as long as anybody wants the answer.
	refusedFor = 5 * time.Minute
	// mostRefused bounds what is remembered, as names may come from anybody.
	mostRefused = 1000
)

// alarm tells of the requests that Consul refuses for want of rights, and counts connections. Its methods may be called
// from any goroutine; a nil one does nothing.
type alarm struct {
	logger      hclog.Logger
	connections atomic.Int64

	denied, open *prometheus.Desc

	mu      sync.Mutex
	refused map[request]time.Time // when it was last refused
	said    map[string]bool       // kinds of which the log has said so
}

type request struct{ method, path string }

func newAlarm(logger hclog.Logger) *alarm {
	return &alarm{
		logger:  logger,
		refused: make(map[request]time.Time),
		said:    make(map[string]bool),
		denied: prometheus.NewDesc("argosy_consul_denied",
			"1 while Consul refuses requests of a kind, as the ACL token is unknown or lacks a right; else 0.", []string{"request"}, nil),
		open: prometheus.NewDesc("argosy_consul_connections", "Open connections to Consul's HTTP API.", nil, nil),
	}
}

// note takes up how a request ended; why is empty unless it was refused.
func (a *alarm) note(method, path string, status int, why string) {
	if a == nil || why == "" && status >= http.StatusInternalServerError {
		return // of those it is not known
	}
	asked, kind := request{method, path}, kindOf(path)
	a.mu.Lock()
	defer a.mu.Unlock()
	if why == "" {
		if len(a.refused) > 0 {
			delete(a.refused, asked)
			a.calm(time.Now())
		}
		return
	}
	if _, known := a.refused[asked]; known || len(a.refused) < mostRefused {
		a.refused[asked] = time.Now()
	}
	if !a.said[kind] {
		a.said[kind] = true
		a.logger.Error("consul refuses requests: what is known stays in use", "request", kind, "error", why)
	}
}

// calm forgets what has not been asked for lately, and says which kinds are no longer refused. The caller holds mu.
func (a *alarm) calm(now time.Time) (refused map[string]bool) {
	refused = make(map[string]bool)
	for asked, at := range a.refused {
		if now.Sub(at) > refusedFor {
			delete(a.refused, asked)
		} else {
			refused[kindOf(asked.path)] = true
		}
	}
	for kind := range a.said {
		if !refused[kind] {
			delete(a.said, kind)
			a.logger.Info("consul does not refuse requests any more", "request", kind)
		}
	}
	return refused
}

// Describe implements prometheus.Collector.
func (a *alarm) Describe(to chan<- *prometheus.Desc) {
	to <- a.denied
	to <- a.open
}

// Collect implements prometheus.Collector.
func (a *alarm) Collect(to chan<- prometheus.Metric) {
	a.mu.Lock()
	refused := a.calm(time.Now())
	a.mu.Unlock()
	for _, kind := range allKinds {
		value := 0.0
		if refused[kind] {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(a.denied, prometheus.GaugeValue, value, kind)
	}
	to <- prometheus.MustNewConstMetric(a.open, prometheus.GaugeValue, float64(a.connections.Load()))
}
