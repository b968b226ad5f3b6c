package config

import (
	"strings"
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
		Address:      d.URL(raw.Address),
		Namespace:    d.String(raw.Namespace),
		Local:        d.Dtab(raw.Local),
		TokenFile:    d.Readable(raw.TokenFile),
		CAFile:       d.CAFile(raw.CAFile),
		Mode:         d.OneOf(raw.Mode, "auto", "stream", "poll"),
		PollInterval: d.Duration(raw.PollInterval, 100*time.Millisecond, time.Hour),
		MaxStreams:   d.Int(raw.MaxStreams, 1, 100_000),
	}
	out.CertFile, out.KeyFile = d.KeyPair(raw.CertFile, raw.KeyFile)
	l.cfg.Interpreter = out
	l.namespace(raw.Namespace, out.Namespace)
	if raw.CAFile != nil && strings.HasPrefix(out.Address, "http:") {
		d.Errorf(raw.CAFile.NameRange, `write the address as "https://..."`, "ca_file has no effect without TLS")
	}
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
