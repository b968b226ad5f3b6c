package promx

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestRegisteredTwiceIsTheFirst(t *testing.T) {
	reg := prometheus.NewRegistry()
	gauge := func() prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "g", Help: "A gauge."})
	}
	first := Registered(reg, gauge())
	if second := Registered(reg, gauge()); second != first {
		t.Error("the second is another")
	}
	if alone := gauge(); Registered(nil, alone) != alone {
		t.Error("without a registry it is another")
	}
	other := Registered(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: "h", Help: "Another."}))
	if other == first {
		t.Error("another gauge is the first")
	}
}
