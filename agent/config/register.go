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
		Registration:    d.OneOf(raw.Registration, "auto", "self", "external"),
		Check:           d.OneOf(raw.Check, "ttl", "http", "none"),
		TTL:             d.Duration(raw.TTL, 30*time.Second, 24*time.Hour),
		TCPCheck:        d.Bool(raw.TCPCheck),
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
	if written := hclx.Place(raw.TTL).Filename != ""; written && out.Check != "ttl" && !d.Failed(raw.Check) {
		d.Errorf(hclx.Place(raw.TTL), `leave it out, or write check = "ttl"`, "ttl has no effect with check = %q", out.Check)
	}
	plain := slices.ContainsFunc(l.cfg.Listeners, func(x Listener) bool { return x.Register != nil && !x.Register.Native })
	if out.TCPCheck && used && !plain {
		d.Errorf(hclx.Place(raw.TCPCheck), "leave it out", "tcp_check has no effect: all listeners that are registered speak Connect")
	}
	if used && out.Check == "http" && out.Registration != "external" {
		l.checkable(hclx.Place(raw.Check))
	}
	l.cfg.Register = out
}

// checkable refuses an admin endpoint that Consul's HTTP check cannot ask: agents would be critical for ever.
func (l *loader) checkable(check hclx.Range) {
	const hint = `, or write check = "ttl"`
	admin := &l.cfg.Admin
	switch {
	case admin.Network == "unix":
		l.d.Errorf(check, "give admin a loopback address"+hint, "Consul cannot ask an admin endpoint at a Unix socket")
	case admin.TLS != nil && admin.TLS.Required:
		l.d.Errorf(check, `write client_auth = "optional" in the tls block of admin`+hint, "Consul has no certificate to show to the admin endpoint")
	case (admin.Identifies() || admin.Closed) && !slices.Contains(admin.Open, "/ready"):
		l.d.Errorf(check, `add "/ready" to open in the admin block`+hint, "Consul has no token and no certificate for the admin endpoint's /ready")
	}
}
