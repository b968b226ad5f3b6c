package config

import (
	"time"

	"argosy/internal/hclx"
)

// interpreter takes the block that has names bound elsewhere, and refuses what would have no effect beside it.
func (l *loader) interpreter() {
	d, raw := l.d, l.raw.Interpreter
	if raw == nil {
		return
	}
	if raw.Kind != "namerd" {
		d.Errorf(raw.KindRange, `write interpreter "namerd"`, "unknown kind of interpreter %q", raw.Kind)
	}
	out := &Interpreter{
		Namerd: l.namerd(rawNamerd{
			Address: raw.Address, TokenFile: raw.TokenFile, CAFile: raw.CAFile, CertFile: raw.CertFile, KeyFile: raw.KeyFile,
		}),
		Namespace:    d.String(raw.Namespace),
		Local:        d.Dtab(raw.Local),
		Mode:         d.OneOf(raw.Mode, "auto", "stream", "poll"),
		PollInterval: d.Duration(raw.PollInterval, 100*time.Millisecond, time.Hour),
		MaxStreams:   d.Int(raw.MaxStreams, 1, 100_000),
	}
	l.cfg.Interpreter = out
	l.namespace(raw.Namespace, out.Namespace)
	if l.raw.Dtab != nil {
		d.Errorf(raw.Range, "leave one of them out; local in the interpreter block adds entries to namerd's table",
			"there are both a dtab and an interpreter: who binds the names?")
	}
	for _, n := range l.raw.Namers {
		d.Errorf(n.KindRange, "leave it out, or bind names here with dtab { namerd { ... } } in place of the interpreter",
			"namer %q has no effect: the interpreter's namerd has its own", n.Kind)
	}
	for i := range l.raw.Clients {
		if t := l.raw.Clients[i].TLS; t != nil && t.Connect != nil {
			d.Errorf(hclx.Place(t.Connect), `bind names here with dtab { namerd { ... } } and namer "io.l5d.consul" { connect = true } in place of the interpreter`,
				"connect cannot be used: endpoints from the interpreter's namerd have no Connect identity to check")
		}
	}
}
