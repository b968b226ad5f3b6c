// Package config is namerd's configuration: the HCL that operators write, checked as a whole.
package config

import (
	"strings"

	"argosy/dtab"
	"argosy/internal/hclx"
	"argosy/internal/settings"
	"argosy/namerd/store"
)

// Config is a validated configuration. It is a value that is not changed after loading.
type Config struct {
	Name   string // in logs; "namerd" unless set
	Log    settings.Log
	Consul settings.Consul
	HTTP   HTTP
	Memory *Memory // exactly one of Memory and KV is set
	KV     *KV
}

// HTTP is the endpoint of the API.
type HTTP struct {
	Address  string // "127.0.0.1:4180" unless set
	ReadOnly bool
}

// Memory keeps tables in this process.
type Memory struct{ Namespaces map[string]dtab.Dtab }

// KV keeps tables in Consul's key-value store.
type KV struct{ PathPrefix string } // without slashes at its ends

type rawConfig struct {
	// The name of this namerd in logs.
	Name hclx.Attr `hcl:"name,optional" type:"string" default:"namerd"`
	// How to log.
	Log *hclx.LogBlock `hcl:"log,block"`
	// How to reach the Consul agent of this machine.
	Consul *hclx.ConsulBlock `hcl:"consul,block"`
	// The endpoint of the API.
	HTTP *rawHTTP `hcl:"http,block"`
	// Where the tables are kept. The label is `memory` or `consul`. Required.
	Stores []rawStore `hcl:"store,block"`
}

// rawHTTP serves `/api/1/dtabs`, `/health` and `/metrics`. It has no authentication: keep it on loopback, or behind
// something that has.
type rawHTTP struct {
	// `host:port` to listen on; port 0 takes a free one.
	Address hclx.Attr `hcl:"address,optional" type:"address" default:"127.0.0.1:4180"`
	// Refuse to change tables.
	ReadOnly hclx.Attr `hcl:"read_only,optional" type:"boolean" default:"false"`
}

// rawStore has the keys of its kind.
//
//argosy:kind memory rawMemory
//argosy:kind consul rawConsulStore
type rawStore struct {
	Kind      string     `hcl:"kind,label"`
	KindRange hclx.Range `hcl:"kind,label_range"`
	Keys      hclx.Body  `hcl:",remain"`
}

// rawMemory forgets all changes when the process ends.
type rawMemory struct {
	// Tables to begin with, by namespace: `{ default = "/svc => /#/io.l5d.fs" }`.
	Namespaces hclx.Attr `hcl:"namespaces,optional" type:"map of dtabs"`
}

// rawConsulStore has the layout of Namerd 1.x: one key for each namespace, its value the table as text. Agents that
// read the same keys do not need namerd to be up.
type rawConsulStore struct {
	// The folder of the keys.
	PathPrefix hclx.Attr `hcl:"path_prefix,optional" type:"string" default:"namerd/dtabs"`
}

// Load reads, decodes and checks files and directories of *.hcl files; a later file adds to those before it. It
// returns a configuration or an *hclx.Error with everything that is wrong, never both.
func Load(paths []string) (*Config, error) {
	var raw rawConfig
	var c Config
	d := hclx.Decode(paths, &raw)
	if d.Loaded() {
		load(d, &raw, &c)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return &c, nil
}

func load(d *hclx.Decoder, raw *rawConfig, c *Config) {
	c.Name = d.Name(raw.Name)
	c.Log = raw.Log.Settings(d)
	c.Consul = raw.Consul.Settings(d)
	http := hclx.OrDefault(raw.HTTP)
	c.HTTP = HTTP{Address: d.Address(http.Address), ReadOnly: d.Bool(http.ReadOnly)}

	const hint = `write store "memory" {} or store "consul" {}`
	if len(raw.Stores) == 0 {
		d.Errorf(d.Whole(), hint, "the store block is missing: where are the tables kept?")
	}
	for i, s := range raw.Stores {
		if i > 0 {
			d.Errorf(s.KindRange, "the first is at "+hclx.At(raw.Stores[0].KindRange), "a second store")
		}
		switch s.Kind {
		case "memory":
			var keys rawMemory
			d.Body(s.Keys, &keys)
			c.Memory = &Memory{Namespaces: tables(d, keys.Namespaces)}
		case "consul":
			var keys rawConsulStore
			d.Body(s.Keys, &keys)
			prefix := strings.Trim(d.String(keys.PathPrefix), "/")
			if prefix == "" && !d.Failed(keys.PathPrefix) {
				d.Errorf(hclx.Place(keys.PathPrefix), `Namerd's is "namerd/dtabs"`, "path_prefix is empty")
			}
			c.KV = &KV{PathPrefix: prefix}
		default:
			d.Errorf(s.KindRange, hint, "unknown kind of store %q", s.Kind)
		}
	}
}

func tables(d *hclx.Decoder, a hclx.Attr) map[string]dtab.Dtab {
	out := map[string]dtab.Dtab{}
	for _, item := range d.Items(a) {
		if !store.ValidName(item.Key.Value) {
			d.Errorf(item.Key.Range, "letters, digits, '-' and '_' are allowed", "namespace %q is no name of a table", item.Key.Value)
			continue
		}
		out[item.Key.Value] = d.Dtab(item.Value)
	}
	return out
}
