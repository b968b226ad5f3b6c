// Package promx is what the metrics of several packages have in common.
package promx

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Registered returns the collector of that name that the registry has, which may be an earlier one's of the same kind:
// an agent that reloads has two of some parts for a moment. Without a registry c counts for nobody.
func Registered[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if errors.As(reg.Register(c), &already) {
		if earlier, ok := already.ExistingCollector.(C); ok {
			return earlier
		}
	}
	return c
}
