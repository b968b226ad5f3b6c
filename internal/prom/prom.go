// Package prom is what all parts need that have metrics of their own in a registry that outlives them.
package prom

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Registered registers a collector and returns it, or the one of the same names that the registry has already: that of an
// earlier owner, whose counting goes on.
func Registered[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	var already prometheus.AlreadyRegisteredError
	if errors.As(reg.Register(c), &already) {
		if earlier, ok := already.ExistingCollector.(C); ok {
			return earlier
		}
	}
	return c
}
