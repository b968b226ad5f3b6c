package store

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
)

// gauged counts the tables that do not parse.
type gauged struct {
	Historian
	unparsable *prometheus.GaugeVec

	mu  sync.Mutex
	bad map[string]int // observers of the namespace that see it so
}

// WithGauge is s with the metric argosy_namerd_table_unparsable: 1 for each namespace that is observed and holds text
// that does not parse. Namespaces that are well have no such series, and ones that do not exist neither, so that nobody
// can make series by asking for names.
func WithGauge(s Historian, reg prometheus.Registerer) Historian {
	g := &gauged{Historian: s, bad: map[string]int{}, unparsable: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "argosy_namerd_table_unparsable",
		Help: "1 while the text of a namespace that is watched does not parse, and its last good table stays in use.",
	}, []string{"namespace"})}
	reg.MustRegister(g.unparsable)
	return g
}

func (g *gauged) Observe(ctx context.Context, ns string, publish func(Observation)) {
	bad := false
	note := func(now bool) {
		if now == bad {
			return
		}
		bad = now
		g.mu.Lock()
		defer g.mu.Unlock()
		if now {
			g.bad[ns]++
			g.unparsable.WithLabelValues(ns).Set(1)
			return
		}
		if g.bad[ns]--; g.bad[ns] == 0 {
			delete(g.bad, ns)
			g.unparsable.DeleteLabelValues(ns)
		}
	}
	defer note(false)
	g.Historian.Observe(ctx, ns, func(o Observation) {
		var syntax *dtab.SyntaxError
		note(errors.As(o.Err, &syntax))
		publish(o)
	})
}
