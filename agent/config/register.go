package config

import (
	"slices"
	"time"

	"argosy/internal/hclx"
)

func (l *loader) register() {
	used := slices.ContainsFunc(l.cfg.Listeners, func(x Listener) bool { return x.Register != nil })
	if !used && l.raw.Register == nil {
		return
	}
	d, raw := l.d, hclx.OrDefault(l.raw.Register)
	if !used {
		d.Errorf(raw.Range, "add register {} to the listeners that are to be found in Consul", "register has no effect: no listener has a register block")
	}
	out := &Register{
		ID:              d.String(raw.ID),
		Tags:            d.Strings(raw.Tags),
		Meta:            d.StringMap(raw.Meta),
		Address:         d.String(raw.Address),
		CheckInterval:   d.Duration(raw.CheckInterval, time.Second, time.Hour),
		CheckTimeout:    d.Duration(raw.CheckTimeout, 100*time.Millisecond, time.Hour),
		DeregisterAfter: d.Duration(raw.DeregisterAfter, time.Minute, hclx.Forever),
	}
	for _, reserved := range []string{"version", "admin", "routes"} {
		if _, set := out.Meta[reserved]; set {
			d.Errorf(hclx.Place(raw.Meta), "choose another key", "meta %q is set by the agent itself", reserved)
		}
	}
	if hclx.HasPort(out.Address) {
		d.Errorf(hclx.Place(raw.Address), "the port is the listener's, or its register block's", "address %q has a port", out.Address)
	}
	l.cfg.Register = out
}
