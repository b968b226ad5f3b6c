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
	"argosy/namer/consul"
	"argosy/namer/mounts"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustParse(s string) dtab.Dtab {
	d, err := dtab.Parse(s)
	if err != nil {
		panic(err)
	}
	return d
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	file := write(t, t.TempDir(), "agent.hcl", `
dtab {
  consul {}
}
namer "io.l5d.consul" {}
listener "redis" {
  address     = "127.0.0.1:7474"
  destination = "/svc/redis"
}
listener "tls" {
  address = ":0"
  sni {}
}
client "/svc/redis" {}
`)
	got, err := Load([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Name:   "argosy",
		Log:    settings.Log{Level: "info", Format: "text"},
		Admin:  Admin{Address: "127.0.0.1:9990"},
		Consul: settings.Consul{Timeout: 10 * time.Second},
		Dtab: Dtab{Namespace: "default", Consul: &DtabConsul{PathPrefix: "namerd/dtabs"},
			AlternativeTimeout: 2 * time.Second, MaxNames: 1000, MaxWatches: 10_000},
		Namers: []mounts.Namer{{Kind: "io.l5d.consul", Prefix: dtab.MustParsePath("/#/io.l5d.consul"),
			Consul: &mounts.Consul{Options: consul.Options{UseHealth: true, PreferService: true, Consistency: "default",
				HoldEmpty: 15 * time.Second, GuardHold: 15 * time.Second, GuardShare: 0.5}}}},
		Listeners: []Listener{
			{Name: "redis", Network: "tcp", Address: "127.0.0.1:7474", Destination: dtab.MustParsePath("/svc/redis"), ConnectTimeout: 10 * time.Second},
			{Name: "tls", Network: "tcp", Address: ":0", SNI: &SNI{Prefix: dtab.MustParsePath("/sni"), Timeout: 3 * time.Second}, ConnectTimeout: 10 * time.Second},
		},
		Clients: []Client{{Prefix: dtab.MustParsePrefix("/svc/redis"), ConnectTimeout: time.Second, Retries: 2}},
		Drain:   Drain{Timeout: 30 * time.Second},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEveryKey(t *testing.T) {
	dir := t.TempDir()
	token := write(t, dir, "token", " very-secret\n")
	t.Setenv("ARGOSY_TEST_TOKEN", "very-secret")
	t.Setenv("NOMAD_PORT_redis", "23456")
	t.Setenv("ARGOSY_TEST_DIR", dir)
	main := write(t, dir, "10-main.hcl", `
name = "edge"
log {
  level  = "debug"
  format = "json"
}
admin { address = "127.0.0.1:0" }
consul {
  address    = "unix:///run/consul.sock"
  token      = env("ARGOSY_TEST_TOKEN")
  datacenter = "dc2"
  timeout    = "3s"
}
dtab {
  namespace = "blue-1"
  namerd {
    address    = "http://namerd.example:4180/base/"
    token_file = "${env("ARGOSY_TEST_DIR")}/token"
  }
  local               = "/svc/x => /svc/y"
  on_empty            = "stop"
  alternative_timeout = "500ms"
  max_names           = 50
  max_watches         = 200
}
register {
  id               = "edge-1"
  tags             = ["a", env("ARGOSY_TEST_UNSET", "b")]
  meta             = { team = "core" }
  address          = "10.0.0.7"
  check_interval   = "1s"
  check_timeout    = "500ms"
  deregister_after = "1h"
}
drain {
  propagation = "0s"
  timeout     = "1m"
}
`)
	write(t, dir, "20-more.hcl", `
namer "io.l5d.consul" {
  prefix                 = "/#/tagged"
  include_tag            = true
  use_health_check       = false
  connect                = true
  prefer_service_address = false
  hold_empty             = 0
}
namer "io.l5d.fs" { root_dir = env("ARGOSY_TEST_DIR") }
namer "io.l5d.rewrite" {
  prefix  = "/#/hosts"
  pattern = "/{service}.example"
  name    = "/svc/{service}"
}
namer "static" {
  services = { redis = ["127.0.0.1:6379", "[::1]:6379 * 0.5"], none = [] }
}
listener "redis" {
  address         = "0.0.0.0:${env("NOMAD_PORT_redis")}"
  reuse_port      = "true"
  destination     = "/svc/redis"
  max_connections = env("ARGOSY_TEST_UNSET", "100")
  connect_timeout = "2s"
  idle_timeout    = "1h"
  tls { connect = "redis-proxy" }
  register {
    service = "redis-proxy"
    port    = 7474
  }
}
listener "edge" {
  address = "127.0.0.1:7475"
  sni {
    prefix  = "/edge"
    default = "/svc/web"
    timeout = "1s"
  }
  register {}
}
client "/svc/*/web" {
  connect_timeout = "100ms"
  retries         = 0
  tls { server_name = "web.example" }
}
client "/svc" {
  tls { connect = "edge" }
}
`)
	_ = main
	got, err := Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	path := dtab.MustParsePath
	want := &Config{
		Name:  "edge",
		Log:   settings.Log{Level: "debug", Format: "json"},
		Admin: Admin{Address: "127.0.0.1:0"},
		Consul: settings.Consul{Address: "unix:///run/consul.sock", Token: settings.NewSecret("very-secret"),
			Datacenter: "dc2", Timeout: 3 * time.Second},
		Dtab: Dtab{Namespace: "blue-1", Namerd: &Namerd{Address: "http://namerd.example:4180/base", TokenFile: token},
			Local: mustParse("/svc/x => /svc/y"), EmptyStops: true, AlternativeTimeout: 500 * time.Millisecond, MaxNames: 50, MaxWatches: 200},
		Namers: []mounts.Namer{
			{Kind: "io.l5d.consul", Prefix: path("/#/tagged"), Consul: &mounts.Consul{Options: consul.Options{IncludeTag: true, Connect: consul.ConnectAlways,
				Consistency: "default", GuardHold: 15 * time.Second, GuardShare: 0.5}}},
			{Kind: "io.l5d.fs", Prefix: path("/#/io.l5d.fs"), FS: &mounts.FS{RootDir: dir}},
			{Kind: "io.l5d.rewrite", Prefix: path("/#/hosts"), Rewrite: &mounts.Rewrite{Pattern: "/{service}.example", Name: "/svc/{service}"}},
			{Kind: "static", Prefix: path("/#/static"), Static: map[string][]string{"redis": {"127.0.0.1:6379", "[::1]:6379 * 0.5"}, "none": {}}},
		},
		Listeners: []Listener{
			{Name: "redis", Network: "tcp", Address: "0.0.0.0:23456", ReusePort: true, Destination: path("/svc/redis"), MaxConnections: 100,
				ConnectTimeout: 2 * time.Second, IdleTimeout: time.Hour, TLS: &ServerTLS{Connect: "redis-proxy"},
				Register: &ListenerEntry{Service: "redis-proxy", Port: 7474, Native: true}},
			{Name: "edge", Network: "tcp", Address: "127.0.0.1:7475", ConnectTimeout: 10 * time.Second,
				SNI: &SNI{Prefix: path("/edge"), Default: path("/svc/web"), Timeout: time.Second}, Register: &ListenerEntry{Service: "edge"}},
		},
		Clients: []Client{
			{Prefix: dtab.MustParsePrefix("/svc/*/web"), ConnectTimeout: 100 * time.Millisecond, TLS: &ClientTLS{ServerName: "web.example"}},
			{Prefix: dtab.MustParsePrefix("/svc"), ConnectTimeout: time.Second, Retries: 2, TLS: &ClientTLS{Connect: "edge"}},
		},
		Register: &Register{ID: "edge-1", Tags: []string{"a", "b"}, Meta: map[string]string{"team": "core"}, Address: "10.0.0.7",
			CheckInterval: time.Second, CheckTimeout: 500 * time.Millisecond, DeregisterAfter: time.Hour},
		Drain: Drain{Timeout: time.Minute},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPropagationWithRegistration(t *testing.T) {
	t.Parallel()
	file := write(t, t.TempDir(), "agent.hcl", `
dtab { static = "" }
listener "redis" {
  address     = "127.0.0.1:7474"
  destination = "/svc/redis"
  register {}
}
`)
	got, err := Load([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	if got.Drain.Propagation != 3*time.Second || got.Register == nil || got.Register.CheckInterval != 5*time.Second {
		t.Errorf("%+v %+v", got.Drain, got.Register)
	}
	if l := got.Listeners[0].Register; l.Service != "argosy" || l.Native {
		t.Errorf("%+v", l)
	}
}

// Later files add to earlier ones; they do not replace what those say.
func TestFilesAdd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.hcl", "name = \"a\"\ndtab { static = \"\" }\n")
	write(t, dir, "b.hcl", "listener \"x\" {\n  address = \"127.0.0.1:1\"\n  destination = \"/x\"\n}\n")
	write(t, dir, "ignored.txt", "{{{")
	write(t, dir, ".b.hcl", "{{{")
	if c, err := Load([]string{dir}); err != nil || len(c.Listeners) != 1 {
		t.Fatal(c, err)
	}
	extra := write(t, t.TempDir(), "c.hcl", "name = \"c\"\ndtab { static = \"\" }\n")
	_, err := Load([]string{dir, extra})
	if err == nil || !strings.Contains(err.Error(), "c.hcl:1:1: name is set twice") || !strings.Contains(err.Error(), "a.hcl:1:1") ||
		!strings.Contains(err.Error(), "c.hcl:2:1: second dtab block") {
		t.Error(err)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	for _, paths := range [][]string{nil, {"/nonexistent.hcl"}, {t.TempDir()}, {"testdata/bad/empty.hcl", "testdata/bad/../bad/empty.hcl"}} {
		if c, err := Load(paths); err == nil || c != nil {
			t.Error(paths, "loaded")
		} else {
			t.Log(err)
		}
	}
}
