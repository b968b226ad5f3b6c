package config

import (
	"fmt"
	"strings"

	"argosy/internal/hclx"
)

const dtabHint = `write in it one of: static = "/svc => ...", file = "...", consul {}, namerd {}`

func (l *loader) dtab() {
	d, raw, c := l.d, l.raw.Dtab, &l.cfg.Dtab
	if raw == nil && d.Doubled("dtab") {
		return
	}
	if raw == nil {
		d.Errorf(d.Whole(), "add a dtab block; "+dtabHint,
			"the dtab block is missing: where does the table come from?")
		return
	}
	c.Namespace = d.String(raw.Namespace)
	if (c.Namespace == "" || strings.Trim(c.Namespace, namespaceLetters) != "") && !d.Failed(raw.Namespace) {
		d.Errorf(hclx.Place(raw.Namespace), "letters, digits, '-' and '_' are allowed", "namespace %q is no name of a table", c.Namespace)
	}
	c.Local = d.Dtab(raw.Local)

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
		c.Namerd = &DtabNamerd{Address: d.URL(raw.Namerd.Address), TokenFile: d.Readable(raw.Namerd.TokenFile), CAFile: d.CAFile(raw.Namerd.CAFile)}
		c.Namerd.CertFile, c.Namerd.KeyFile = d.KeyPair(raw.Namerd.CertFile, raw.Namerd.KeyFile)
	}
	switch len(sources) {
	case 0:
		d.Errorf(raw.Range, dtabHint, "the dtab has no source")
	case 1:
	default:
		d.Errorf(raw.Range, "leave exactly one of them", "the dtab has %d sources: %s", len(sources), strings.Join(sources, " and "))
	}
}

const namespaceLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func label(block, name string) string { return fmt.Sprintf("%s %q", block, name) }
