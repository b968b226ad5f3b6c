// Package config is namerd's configuration: the HCL that operators write, checked as a whole.
package config

import (
	"argosy/internal/hclx"
	"argosy/internal/settings"
	"argosy/namer/mounts"
	"argosy/namerd/store"
)

// Config is a validated configuration. It is a value that is not changed after loading.
type Config struct {
	Name    string // in logs; "namerd" unless set
	Log     settings.Log
	Consul  settings.Consul
	HTTP    HTTP
	Mesh    *Mesh // nil: off
	History store.Limits
	Memory  *Memory // exactly one of Memory, KV and Files is set
	KV      *KV
	Files   *Files
	Namers  []mounts.Namer
	Binding Binding
}

type rawConfig struct {
	// The name of this namerd in logs.
	Name hclx.Attr `hcl:"name,optional" type:"string" default:"namerd"`
	// How to log.
	Log *hclx.LogBlock `hcl:"log,block"`
	// How to reach the Consul agent of this machine.
	Consul *hclx.ConsulBlock `hcl:"consul,block"`
	// The endpoint of the API.
	HTTP *rawHTTP `hcl:"http,block"`
	// The endpoint for Linkerd 1.x.
	Mesh *rawMesh `hcl:"mesh,block"`
	// How many earlier tables to remember.
	History *rawHistory `hcl:"history,block"`
	// Where the tables are kept. The label is `memory`, `consul` or `files`. Required.
	Stores []rawStore `hcl:"store,block"`
	// Namers, for those who ask what names stand for. The last one is asked first, as in Linkerd.
	Namers []mounts.Block `hcl:"namer,block"`
	// How names are bound.
	Binding *rawBinding `hcl:"binding,block"`
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
	c.HTTP = loadHTTP(d, raw.HTTP)
	c.Mesh = loadMesh(d, raw.Mesh)
	c.History = loadHistory(d, raw.History)
	loadStores(d, raw.Stores, c)
	c.Namers = mounts.Load(d, raw.Namers)
	c.Binding = loadBinding(d, raw.Binding)
}
