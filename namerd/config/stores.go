package config

import (
	"os"
	"strings"

	"argosy/dtab"
	"argosy/internal/hclx"
	"argosy/namerd/store"
)

// Memory keeps tables in this process.
type Memory struct{ Namespaces map[string]dtab.Dtab }

// KV keeps tables in Consul's key-value store.
type KV struct{ PathPrefix string } // without slashes at its ends

// Files keeps tables in a folder.
type Files struct{ Dir string }

// rawStore has the keys of its kind.
//
//argosy:kind memory rawMemory
//argosy:kind consul rawConsulStore
//argosy:kind files rawFilesStore
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
// read the same keys do not need namerd to be up. The history is below `.history/` in the same folder.
type rawConsulStore struct {
	// The folder of the keys.
	PathPrefix hclx.Attr `hcl:"path_prefix,optional" type:"string" default:"namerd/dtabs"`
}

// rawFilesStore has one file for each namespace, `NAMESPACE.dtab`, that may be edited by hand. Only one namerd can have
// the folder.
type rawFilesStore struct {
	// The folder. It is made if it is not there. Required.
	Dir hclx.Attr `hcl:"dir,optional" type:"string"`
}

// rawHistory bounds what is remembered of each namespace, in every kind of store.
type rawHistory struct {
	// At most so many changes.
	MaxChanges hclx.Attr `hcl:"max_changes,optional" type:"number" default:"100"`
	// At most so many bytes of tables as text, all changes of a namespace together. The newest is always kept.
	MaxBytes hclx.Attr `hcl:"max_bytes,optional" type:"number" default:"8388608"`
}

func loadStores(d *hclx.Decoder, raw []rawStore, c *Config) {
	const hint = `write store "memory" {}, store "consul" {} or store "files" { dir = "..." }`
	if len(raw) == 0 {
		d.Errorf(d.Whole(), hint, "the store block is missing: where are the tables kept?")
	}
	for i, s := range raw {
		if i > 0 {
			d.Errorf(s.KindRange, "the first is at "+hclx.At(raw[0].KindRange), "a second store")
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
		case "files":
			var keys rawFilesStore
			d.Body(s.Keys, &keys)
			c.Files = &Files{Dir: folder(d, s, keys.Dir)}
		default:
			d.Errorf(s.KindRange, hint, "unknown kind of store %q", s.Kind)
		}
	}
}

func folder(d *hclx.Decoder, s rawStore, a hclx.Attr) string {
	dir := d.String(a)
	switch {
	case a == nil:
		d.Errorf(s.KindRange, `add dir = "..."`, "store %q has no dir", s.Kind)
	case dir == "":
		if !d.Failed(a) {
			d.Errorf(hclx.Place(a), "", "dir is empty")
		}
	default:
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			d.Errorf(hclx.Place(a), "", "dir %q is not a folder", dir)
		}
	}
	return dir
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

func loadHistory(d *hclx.Decoder, raw *rawHistory) store.Limits {
	raw = hclx.OrDefault(raw)
	return store.Limits{Changes: d.Int(raw.MaxChanges, 1, 100_000), Bytes: d.Int(raw.MaxBytes, 1, 1<<30)}
}
