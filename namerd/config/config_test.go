package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/devca"
	"argosy/internal/settings"
	"argosy/namer/mounts"
	"argosy/namerd/store"
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
		Consul: settings.Consul{Timeout: 10 * time.Second, WatchConnections: 80},
		HTTP:   HTTP{Door: settings.Door{Network: "tcp", Address: "127.0.0.1:4180", Open: []string{"/health", "/ready"}, MaxConnections: 10_000}},
		Memory: &Memory{Namespaces: map[string]dtab.Dtab{}},

		History: store.Limits{Changes: 100, Bytes: 8 << 20},
		Binding: Binding{AlternativeTimeout: 2 * time.Second, MaxWatches: 10_000},
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
		Consul: settings.Consul{Address: "10.0.0.1:8500", Timeout: 10 * time.Second, WatchConnections: 80},
		HTTP: HTTP{Door: settings.Door{
			Network: "unix", Address: "/run/namerd.sock", Mode: 0o600, Owner: "namerd", Open: []string{"/metrics"}, Hosts: []string{"namerd.example"}, MaxConnections: 5,
		}, ReadOnly: true},
		KV: &KV{PathPrefix: "a/b"},

		History: store.Limits{Changes: 10, Bytes: 1000},
		Namers: []mounts.Namer{
			{Kind: mounts.KindStatic, Prefix: dtab.MustParsePath("/#/static"), Static: map[string][]string{"redis": {"127.0.0.1:6379"}}},
			{Kind: mounts.KindStatic, Prefix: dtab.MustParsePath("/#/more"), Static: map[string][]string{}},
		},
		Binding: Binding{EmptyStops: true, MaxWatches: 10},
	}
	got := fromText(t, `
name = "n2"
log {
  level  = "warn"
  format = "json"
}
consul { address = "10.0.0.1:8500" }
http {
  address         = "unix:///run/namerd.sock"
  socket_mode     = "0600"
  socket_owner    = "namerd"
  open            = ["/metrics"]
  hosts           = ["namerd.example"]
  max_connections = 5
  read_only       = true
}
history {
  max_changes = 10
  max_bytes   = 1000
}
store "consul" { path_prefix = "/a/b/" }
namer "static" {
  services = { redis = ["127.0.0.1:6379"] }
}
namer "static" {
  prefix   = "/#/more"
  services = {}
}
binding {
  on_empty            = "stop"
  alternative_timeout = "0s"
  max_watches         = 10
}
`)
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	got = fromText(t, `store "memory" { namespaces = { default = "/svc => /#/io.l5d.fs" } }`)
	if !reflect.DeepEqual(got.Memory.Namespaces, map[string]dtab.Dtab{"default": table}) {
		t.Errorf("%+v", got.Memory)
	}
}

func TestSecurity(t *testing.T) {
	dir := t.TempDir()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(dir, "namerd")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokens"), []byte("a-long-token-0123\na-long-token-4567\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ARGOSY_TEST_DIR", dir)
	c := fromText(t, `
http {
  address = "0.0.0.0:4180"
  tls {
    cert_file      = "`+files.Cert+`"
    key_file       = "`+files.Key+`"
    client_ca_file = "`+files.CA+`"
    client_auth    = "optional"
  }
  token "ci" {
    file   = "${env("ARGOSY_TEST_DIR")}/token"
    access = "write"
  }
  token "board" { secret = "other" }
  token_file = "${env("ARGOSY_TEST_DIR")}/tokens"
}
store "files" { dir = "${env("ARGOSY_TEST_DIR")}/tables" }
`)
	want := HTTP{Door: settings.Door{
		Network: "tcp", Address: "0.0.0.0:4180",
		TLS: &settings.DoorTLS{CertFile: files.Cert, KeyFile: files.Key, ClientCAFile: files.CA},
		Tokens: []settings.DoorToken{
			{Name: "ci", File: dir + "/token", Write: true}, {Name: "board", Secret: settings.NewSecret("other")},
			{Name: "token_file", File: dir + "/tokens", Write: true},
		},
		Open: []string{"/health", "/ready"}, MaxConnections: 10_000,
	}}
	if !reflect.DeepEqual(c.HTTP, want) {
		t.Errorf("got  %+v\nwant %+v", c.HTTP, want)
	}
	if c.Files == nil || c.Files.Dir != dir+"/tables" || c.Memory != nil || c.KV != nil {
		t.Errorf("%+v", c)
	}
}
