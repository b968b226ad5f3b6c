package mounts

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"argosy/dtab"
	"argosy/internal/hclx"
	"argosy/internal/settings"
	"argosy/namer"
	"argosy/namer/consul"
	"argosy/namer/rewrite"
)

// Kinds of namers.
const (
	KindConsul  = "io.l5d.consul"
	KindFS      = "io.l5d.fs"
	KindNomad   = "nomad"
	KindRewrite = "io.l5d.rewrite"
	KindStatic  = "static"
)

// Namer is one namer of a configuration. Kind says which of the others is set.
type Namer struct {
	Kind    string    // one of the kinds above; /$/ names need no namer block
	Prefix  dtab.Path // whole, for instance /#/io.l5d.consul
	Consul  *Consul
	FS      *FS
	Nomad   *Nomad
	Rewrite *Rewrite
	Static  map[string][]string // service name -> "host:port" or "host:port * weight"
}

// Consul finds services in Consul's catalog.
type Consul struct {
	consul.Options
	At          *settings.Consul // nil: the Consul that everything else uses
	SnapshotDir string           // "": no snapshots
}

// FS reads a folder whose files are named for services and hold lines of "host port [* weight]".
type FS struct{ RootDir string }

// Rewrite makes Name of the names that match Pattern, as rewrite.New reads them.
type Rewrite struct{ Pattern, Name string }

// Load takes the namers out of their blocks, in the order of the files, and checks them. Mistakes go to d.
func Load(d *hclx.Decoder, blocks []Block) []Namer {
	l := &loader{d: d}
	l.namers(blocks)
	return l.all
}

// loader takes the values out of the blocks.
type loader struct {
	d   *hclx.Decoder
	all []Namer
}

func (l *loader) namers(blocks []Block) {
	mounted := map[string]hclx.Range{}
	for _, raw := range blocks {
		n, prefix, ok := l.namer(raw)
		if !ok {
			continue
		}
		at := hclx.Place(prefix)
		if at.Start.Line == 0 {
			at = raw.KindRange
		}
		n.Prefix = l.mountPoint(prefix)
		if first, again := mounted[n.Prefix.String()]; again && n.Prefix != nil {
			l.d.Errorf(at, fmt.Sprintf("give one of them another prefix, such as prefix = %q", n.Prefix.String()+"2"),
				"a second namer at %s; the first is at %s", n.Prefix, hclx.At(first))
		}
		mounted[n.Prefix.String()] = at
		l.all = append(l.all, n)
	}
}

func (l *loader) namer(raw Block) (n Namer, prefix hclx.Attr, ok bool) {
	d := l.d
	n.Kind = raw.Kind
	switch raw.Kind {
	case KindConsul:
		var keys rawConsulNamer
		d.Body(raw.Keys, &keys)
		n.Consul = l.consul(&keys)
		return n, keys.Prefix, true
	case KindFS:
		var keys rawFSNamer
		d.Body(raw.Keys, &keys)
		n.FS = &FS{RootDir: l.folder(raw, keys.RootDir)}
		return n, keys.Prefix, true
	case KindRewrite:
		var keys rawRewriteNamer
		d.Body(raw.Keys, &keys)
		n.Rewrite = l.rewrite(raw, keys)
		return n, keys.Prefix, true
	case KindStatic:
		var keys rawStaticNamer
		d.Body(raw.Keys, &keys)
		n.Static = l.services(raw, keys.Services)
		return n, keys.Prefix, true
	case KindNomad:
		n.Nomad, prefix = l.nomad(raw)
		return n, prefix, true
	}
	hint := fmt.Sprintf("the kinds are %s, %s, %s, %s and %s", KindConsul, KindFS, KindNomad, KindRewrite, KindStatic)
	if raw.Kind == "consul" || raw.Kind == "fs" || raw.Kind == "rewrite" {
		hint = fmt.Sprintf("write namer \"io.l5d.%s\"", raw.Kind)
	}
	d.Errorf(raw.KindRange, hint, "unknown kind of namer %q", raw.Kind)
	return n, nil, false
}

// mountPoint takes the prefix of a namer, which starts with "/#/".
func (l *loader) mountPoint(a hclx.Attr) dtab.Path {
	p := l.d.Path(a)
	if p == nil {
		return nil
	}
	if len(p) < 2 || p[0] != "#" {
		l.d.Errorf(hclx.Place(a), fmt.Sprintf("write prefix = %q", "/#"+strings.TrimSuffix(p.String(), "/#")),
			"prefix %q does not start with /#/ and a name", p)
		return nil
	}
	return p
}

func (l *loader) folder(raw Block, a hclx.Attr) string {
	if a == nil {
		l.d.Errorf(raw.KindRange, `add root_dir = "..."`, "namer %q has no root_dir", raw.Kind)
		return ""
	}
	dir := l.d.String(a)
	if dir == "" {
		return ""
	}
	if info, err := os.Stat(dir); err != nil {
		l.d.Errorf(hclx.Place(a), "make the folder, with a file for each service", "root_dir cannot be read: %v", err)
	} else if !info.IsDir() {
		l.d.Errorf(hclx.Place(a), "", "root_dir %q is not a folder", dir)
	}
	return dir
}

func (l *loader) rewrite(raw Block, keys rawRewriteNamer) *Rewrite {
	r := &Rewrite{}
	for _, key := range []struct {
		name    string
		attr    hclx.Attr
		to      *string
		example string
	}{
		{"pattern", keys.Pattern, &r.Pattern, "/{service}"},
		{"name", keys.Name, &r.Name, "/svc/{service}"},
	} {
		if key.attr == nil {
			l.d.Errorf(raw.KindRange, fmt.Sprintf("add %s = %q", key.name, key.example), "namer %q has no %s", raw.Kind, key.name)
		} else if *key.to = l.d.String(key.attr); l.d.Failed(key.attr) {
			return r
		}
	}
	if keys.Pattern == nil || keys.Name == nil {
		return r
	}
	if _, err := rewrite.New(r.Pattern, "/"); err != nil {
		l.d.Errorf(hclx.Place(keys.Pattern), `a pattern is written as "/{service}/*/{host}:http"`, "%v", err)
	} else if _, err := rewrite.New(r.Pattern, r.Name); err != nil {
		l.d.Errorf(hclx.Place(keys.Name), `a name is written as "/svc/{service}", with variables of the pattern`, "%v", err)
	}
	return r
}

func (l *loader) services(raw Block, a hclx.Attr) map[string][]string {
	if a == nil {
		l.d.Errorf(raw.KindRange, `add services = { redis = ["127.0.0.1:6379"] }`, "namer %q has no services", raw.Kind)
		return nil
	}
	out := map[string][]string{}
	for _, item := range l.d.Items(a) {
		service := item.Key.Value
		if p, err := dtab.ParsePath("/" + service); err != nil || len(p) != 1 {
			l.d.Errorf(item.Key.Range, "letters, digits and _ : . # $ % - are allowed", "service %q cannot be one element of a path", service)
			continue
		}
		out[service] = []string{}
		for _, endpoint := range l.d.Texts(item.Value) {
			if l.endpoint(service, endpoint) {
				out[service] = append(out[service], endpoint.Value)
			}
		}
	}
	return out
}

// endpoint checks "host:port" or the path of a Unix socket, each with "* weight" or not.
func (l *loader) endpoint(service string, t hclx.Text) bool {
	address, weight, weighted := strings.Cut(t.Value, "*")
	address = strings.TrimSpace(address)
	if strings.HasPrefix(address, "/") {
		if _, err := namer.ParseTarget(address); err != nil {
			l.d.Errorf(t.Range, `write the path of a Unix socket, without spaces, such as "/run/redis.sock"`, "endpoint %q of %s is no path", address, service)
			return false
		}
	} else if l.d.CheckAddress("endpoint of "+service, hclx.Text{Value: address, Range: t.Range}) == "" {
		return false
	}
	if strings.HasPrefix(address, ":") || strings.HasSuffix(address, ":0") {
		l.d.Errorf(t.Range, `an endpoint needs a host and a port, such as "127.0.0.1:6379"`, "endpoint %q of %s cannot be dialled", address, service)
		return false
	}
	if !weighted {
		return true
	}
	w, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
	if err != nil || !(w > 0 && w <= 1e6) {
		l.d.Errorf(t.Range, `write "127.0.0.1:6379 * 2"; a weight is above 0`, "endpoint %q of %s has no good weight", t.Value, service)
		return false
	}
	return true
}
