package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/settings"
)

// With UPDATE_GOLDEN set the expected texts are written instead, to be read before they are kept.
func TestEveryMistakeIsShown(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.hcl")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		c, err := Load([]string{file})
		if err == nil || c != nil {
			t.Fatalf("%s: loaded %+v", file, c)
		}
		golden := strings.TrimSuffix(file, ".hcl") + ".txt"
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, readErr := os.ReadFile(golden)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if err.Error()+"\n" != string(want) {
			t.Errorf("%s:\n--- got\n%v\n--- want\n%s", file, err, want)
		}
	}
}

func fromText(t *testing.T, text string) *Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "namerd.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoad(t *testing.T) {
	want := Config{
		Name:   "namerd",
		Log:    settings.Log{Level: "info", Format: "text"},
		Consul: settings.Consul{Timeout: 10 * time.Second},
		HTTP:   HTTP{Address: "127.0.0.1:4180"},
		Memory: &Memory{Namespaces: map[string]dtab.Dtab{}},
	}
	if got := fromText(t, `store "memory" {}`); !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	table, err := dtab.Parse("/svc => /#/io.l5d.fs")
	if err != nil {
		t.Fatal(err)
	}
	want = Config{
		Name:   "n2",
		Log:    settings.Log{Level: "warn", Format: "json"},
		Consul: settings.Consul{Address: "10.0.0.1:8500", Timeout: 10 * time.Second},
		HTTP:   HTTP{Address: ":0", ReadOnly: true},
		KV:     &KV{PathPrefix: "a/b"},
	}
	got := fromText(t, `
name = "n2"
log {
  level  = "warn"
  format = "json"
}
consul { address = "10.0.0.1:8500" }
http {
  address   = ":0"
  read_only = true
}
store "consul" { path_prefix = "/a/b/" }
`)
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	got = fromText(t, `store "memory" { namespaces = { default = "/svc => /#/io.l5d.fs" } }`)
	if !reflect.DeepEqual(got.Memory.Namespaces, map[string]dtab.Dtab{"default": table}) {
		t.Errorf("%+v", got.Memory)
	}
}
