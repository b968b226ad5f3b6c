package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"argosy/internal/hclx"
	"argosy/namer/mounts"
)

// Load reads, decodes and checks files and directories of *.hcl files; a later file adds to those before it. It
// returns a configuration or an *hclx.Error with everything that is wrong, never both.
func Load(paths []string) (*Config, error) {
	var raw rawConfig
	d := hclx.Decode(paths, &raw)
	l := &loader{d: d, raw: &raw}
	if d.Loaded() {
		l.load()
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return &l.cfg, nil
}

// loader takes the values out of the raw configuration and checks them, one block after another.
type loader struct {
	d   *hclx.Decoder
	raw *rawConfig
	cfg Config
}

func (l *loader) load() {
	d, raw, c := l.d, l.raw, &l.cfg
	c.Name = d.Name(raw.Name)
	c.Log = raw.Log.Settings(d)
	c.Admin = raw.Admin.Settings(d, "admin", "127.0.0.1:9990", true)
	c.Consul = raw.Consul.Settings(d)
	l.connectSource()
	l.dtab()
	l.interpreter()
	c.Namers = mounts.Load(d, raw.Namers)
	l.listeners()
	l.clients()
	l.register()
	l.drain()
	l.relay()
	l.handover()
	l.ports(hclx.OrDefault(raw.Admin).Address)
	l.connect()
}

func (l *loader) drain() {
	d, raw := l.d, hclx.OrDefault(l.raw.Drain)
	l.cfg.Drain.Timeout = d.Duration(raw.Timeout, 0, 24*time.Hour)
	switch {
	case raw.Propagation != nil:
		l.cfg.Drain.Propagation = d.Duration(raw.Propagation, 0, time.Hour)
	case l.cfg.Register != nil:
		l.cfg.Drain.Propagation = 3 * time.Second
	}
}

func (l *loader) relay() {
	d, raw := l.d, hclx.OrDefault(l.raw.Relay)
	l.cfg.Relay = Relay{Engine: d.OneOf(raw.Engine, "auto", "loop", "goroutines"), Workers: d.Int(raw.Workers, 0, 1024)}
	if log := l.raw.AccessLog; log != nil {
		l.cfg.AccessLog = &AccessLog{
			File: d.String(log.File), Open: d.Bool(log.Open), Interval: d.Duration(log.Interval, 0, 24*time.Hour),
		}
	}
}

func (l *loader) handover() {
	raw := l.raw.Handover
	if raw == nil || raw.Socket == nil {
		return
	}
	path := l.d.String(raw.Socket)
	switch {
	case l.d.Failed(raw.Socket):
	case !filepath.IsAbs(path):
		l.d.Errorf(hclx.Place(raw.Socket), `write socket = "/run/argosy/edge.handover"`, "socket %q is no absolute path", path)
	case len(path) > longestSocket-8: // another name beside it is used on the way
		l.d.Errorf(hclx.Place(raw.Socket), fmt.Sprintf("it may have %d bytes", longestSocket-8), "socket %q is too long", path)
	}
	l.cfg.Handover = path
}

// ports refuses what cannot be listened on side by side.
func (l *loader) ports(admin hclx.Attr) {
	type taken struct {
		address, what string
		at            hclx.Range
	}
	all := []taken{{l.cfg.Admin.Address, "the admin endpoint", hclx.Place(admin)}}
	for i, cfg := range l.cfg.Listeners {
		raw := &l.raw.Listeners[i]
		this := taken{cfg.Address, fmt.Sprintf("listener %q", cfg.Name), hclx.Place(raw.Address)}
		for _, other := range all {
			if !hclx.SamePort(this.address, other.address) && (this.address != other.address || !strings.HasPrefix(this.address, "/")) {
				continue
			}
			where := ""
			if other.at.Start.Line > 0 {
				where = " at " + hclx.At(other.at)
			}
			hint := "give each a port of its own"
			if cfg.ReusePort {
				hint = "reuse_port shares a port with other agents, not inside one; " + hint
			}
			l.d.Errorf(this.at, hint, "port of %q is taken by %s%s", this.address, other.what, where)
		}
		all = append(all, this)
	}
}

// connect refuses Connect without Consul: who uses certificates of Consul says which Consul.
func (l *loader) connect() {
	if l.raw.Consul != nil || l.d.Doubled("consul") {
		return
	}
	const hint = "add a consul block; consul {} takes everything from the environment and Consul's defaults"
	if a := l.raw.Admin; a != nil && a.TLS != nil && a.TLS.Connect != nil {
		l.d.Errorf(hclx.Place(a.TLS.Connect), hint, "connect needs Consul")
	}
	for i := range l.raw.Listeners {
		if t := l.raw.Listeners[i].TLS; t != nil && t.Connect != nil {
			l.d.Errorf(hclx.Place(t.Connect), hint, "connect needs Consul")
		}
	}
	for i := range l.raw.Clients {
		if t := l.raw.Clients[i].TLS; t != nil && t.Connect != nil {
			l.d.Errorf(hclx.Place(t.Connect), hint, "connect needs Consul")
		}
	}
}
