package config

import (
	"time"

	"argosy/internal/hclx"
)

// What happens to open connections of a client that may not connect any more.
const (
	DenyDrain = "drain" // they go on for a while, and are cut unless the client is allowed again
	DenyClose = "close" // they are cut
	DenyKeep  = "keep"  // they stay; new ones are refused all the same
)

// Deny is how a listener treats the open connections of clients that may not connect any more.
type Deny struct {
	Action string        // DenyDrain unless set
	Grace  time.Duration // of DenyDrain; 10s unless set
	Rate   float64       // connections that are cut per second, 1000 unless set; 0: no limit
}

// deny takes what a tls block says about clients that are denied. asks says whether it asks clients who they are.
func (l *loader) deny(raw *rawServerTLS, asks bool) Deny {
	d := l.d
	r := hclx.OrDefault(raw)
	out := Deny{
		Action: d.OneOf(r.OnDeny, DenyDrain, DenyClose, DenyKeep),
		Grace:  d.Duration(r.DenyGrace, 0, 24*time.Hour), Rate: d.Float(r.DenyRate, 0, 1e6),
	}
	for _, a := range []hclx.Attr{r.OnDeny, r.DenyGrace, r.DenyRate} {
		if written(a) && !asks {
			d.Errorf(hclx.Place(a), "add connect or client_ca_file", "%s has no effect where clients are not asked for certificates", a.Name)
		}
	}
	if out.Action == "" || !asks {
		return out
	}
	if written(r.DenyGrace) && out.Action != DenyDrain {
		d.Errorf(hclx.Place(r.DenyGrace), `it is for on_deny = "drain"`, "deny_grace has no effect with on_deny = %q", out.Action)
	}
	if written(r.DenyRate) && out.Action == DenyKeep {
		d.Errorf(hclx.Place(r.DenyRate), "leave it out", "deny_rate has no effect with on_deny = %q", out.Action)
	}
	return out
}

// written reports whether a key stands in a file, and has not just its default.
func written(a hclx.Attr) bool { return hclx.Place(a).Start.Line > 0 }
