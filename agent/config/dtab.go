package config

import (
	"fmt"
	"strings"
	"time"

	"argosy/internal/hclx"
	"argosy/namerd/store"
)

const dtabHint = `write in it one of: static = "/svc => ...", file = "...", consul {}, namerd {}`

func (l *loader) dtab() {
	d, raw, c := l.d, l.raw.Dtab, &l.cfg.Dtab
	if raw == nil && (d.Doubled("dtab") || l.raw.Interpreter != nil || d.Doubled("interpreter")) {
		return
	}
	if raw == nil {
		d.Errorf(d.Whole(), "add a dtab block; "+dtabHint+`; or interpreter "namerd" {}`,
			"the dtab block is missing: where does the table come from?")
		return
	}
	c.Namespace = d.String(raw.Namespace)
	l.namespace(raw.Namespace, c.Namespace)
	c.Local = d.Dtab(raw.Local)
	c.EmptyStops = d.OneOf(raw.OnEmpty, "next", "stop") == "stop"
	c.AlternativeTimeout = d.Duration(raw.AlternativeTimeout, 0, time.Hour)
	c.MaxNames = d.Int(raw.MaxNames, 1, 1_000_000)
	c.MaxWatches = d.Int(raw.MaxWatches, 1, 1_000_000)

	var sources []string
	if raw.Static != nil {
		sources = append(sources, "static")
		table := d.Dtab(raw.Static)
		c.Static = &table
	}
	if raw.File != nil {
		sources = append(sources, "file")
		table := d.DtabFile(raw.File)
		c.Static = &table
	}
	if raw.Consul != nil {
		sources = append(sources, "consul")
		prefix := strings.Trim(d.String(raw.Consul.PathPrefix), "/")
		if prefix == "" && !d.Failed(raw.Consul.PathPrefix) {
			d.Errorf(hclx.Place(raw.Consul.PathPrefix), `Namerd's is "namerd/dtabs"`, "path_prefix is empty")
		}
		c.Consul = &DtabConsul{PathPrefix: prefix}
	}
	if raw.Namerd != nil {
		sources = append(sources, "namerd")
		n := l.namerd(*raw.Namerd)
		c.Namerd = &n
	}
	if c.SnapshotDir = d.String(raw.SnapshotDir); c.SnapshotDir != "" && c.Static != nil {
		d.Errorf(hclx.Place(raw.SnapshotDir), "leave it out", "a table from the configuration needs no snapshot_dir")
	}
	switch len(sources) {
	case 0:
		d.Errorf(raw.Range, dtabHint, "the dtab has no source")
	case 1:
	default:
		d.Errorf(raw.Range, "leave exactly one of them", "the dtab has %d sources: %s", len(sources), strings.Join(sources, " and "))
	}
}

// namerd takes how to reach one.
func (l *loader) namerd(raw rawNamerd) Namerd {
	d := l.d
	n := Namerd{Address: d.URL(raw.Address), TokenFile: d.Readable(raw.TokenFile), CAFile: d.CAFile(raw.CAFile)}
	n.CertFile, n.KeyFile = d.KeyPair(raw.CertFile, raw.KeyFile)
	for _, a := range []hclx.Attr{raw.CAFile, raw.CertFile} {
		if a != nil && strings.HasPrefix(n.Address, "http:") {
			d.Errorf(a.NameRange, `write the address as "https://..."`, "%s has no effect without TLS", a.Name)
		}
	}
	return n
}

// namespace refuses what is no name of a table.
func (l *loader) namespace(a hclx.Attr, name string) {
	if !store.ValidName(name) && !l.d.Failed(a) {
		l.d.Errorf(hclx.Place(a), "letters, digits, '-' and '_' are allowed", "namespace %q is no name of a table", name)
	}
}

func label(block, name string) string { return fmt.Sprintf("%s %q", block, name) }
