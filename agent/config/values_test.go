package config

import (
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"argosy/agent/socket"
	"argosy/dtab"
	"argosy/internal/devca"
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

// withDefaults sets what the listeners and clients of these tests leave to its default.
func withDefaults(c *Config) {
	tuned := socket.Options{NoDelay: true, KeepAlive: 15 * time.Second}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		l.Limits = Limits{AtLimit: Refuse, QueueLength: 100, QueueTimeout: time.Second, Handshakes: 1000}
		l.Deny = Deny{Action: DenyDrain, Grace: 10 * time.Second, Rate: 1000}
		l.Timeouts.Handshake, l.Timeouts.HalfClose, l.Timeouts.LifetimeJitter = 10*time.Second, 5*time.Minute, 0.1
		l.Socket = tuned
	}
	for i := range c.Clients {
		x := &c.Clients[i]
		x.RetryBudget, x.AtLimit, x.Socket = 0.2, Refuse, tuned
		x.Balance = Balance{Policy: P2C, HashOn: "source"}
		x.Ejection = Ejection{Failures: 1, Resets: 5, Time: time.Second, MaxTime: 10 * time.Second, MaxShare: 1}
		x.Removed = Removed{Action: ActionDrain, Rate: 10}
	}
	c.Relay.Engine, c.Connect.Source = "auto", FromAgent
	c.Admin.Network, c.Admin.Open, c.Admin.MaxConnections = "tcp", []string{"/health", "/ready"}, 256
}

// Everything that can be set for a listener, a client, the relay and the access log.
func TestEveryKeyOfTheRelay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := devca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(dir, "edge")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := files.Cert, files.Key
	ocsp := write(t, dir, "ocsp.der", "x")
	pin := "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	file := write(t, dir, "agent.hcl", strings.NewReplacer("CERT", cert, "KEY", key, "OCSP", ocsp, "PIN", pin).Replace(`
dtab { static = "" }
relay {
  engine  = "loop"
  workers = 3
}
handover { socket = "/run/argosy/edge.handover" }
access_log {
  file     = "stderr"
  open     = true
  interval = "1m"
}
listener "db" {
  address            = "/run/db.sock"
  socket_mode        = "0600"
  socket_owner       = "app:db"
  max_connections    = 10
  handshake_timeout  = "1s"
  first_byte_timeout = "2s"
  half_close_timeout = "3s"
  idle_timeout       = "4s"
  max_lifetime       = "1h"
  lifetime_jitter    = 0.5
  sni { alpn = { h2 = "/svc/web", "postgresql" = "/svc/db" } }
  limits {
    connections_per_source = 5
    rate                   = 2.5
    at_limit               = "queue"
    queue                  = 7
    queue_timeout          = "6s"
    handshakes             = 50
  }
  proxy_protocol {
    from     = ["10.1.2.3/8", "::1"]
    optional = true
  }
  socket {
    no_delay     = false
    keepalive    = "0s"
    user_timeout = "1m"
    mark         = 7
    fast_open    = 16
  }
  tls {
    cert_file      = "CERT"
    key_file       = "KEY"
    ocsp_file      = "OCSP"
    client_ca_file = "CERT"
    client_auth    = "optional"
    min_version    = "1.3"
    alpn           = ["h2"]
    deny_grace     = "1m"
    deny_rate      = 0.5
    certificate {
      cert_file = "CERT"
      key_file  = "KEY"
    }
  }
}
client "/svc/db" {
  retry_budget       = 0.5
  max_connections    = 9
  at_limit           = "queue"
  proxy_protocol     = "v2"
  idle_timeout       = "0s"
  first_byte_timeout = "1s"
  half_close_timeout = "2s"
  max_lifetime       = "3s"
  socket { fast_open = true }
  balance {
    policy     = "hash"
    hash_on    = "sni"
    slow_start = "30s"
  }
  ejection {
    failures  = 3
    resets    = 0
    time      = "5s"
    max_time  = "1m"
    max_share = 0.5
  }
  removed {
    action = "cut"
    after  = "10s"
    rate   = 2
  }
  rebalance {
    rate  = 0.5
    quiet = "5s"
  }
  tls {
    spiffe_id   = "spiffe://example.org/db"
    pins        = ["PIN"]
    alpn        = ["postgresql"]
    starttls    = "postgres"
    min_version = "1.3"
  }
}
`))
	got, err := Load([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	path := dtab.MustParsePath
	after := func(d time.Duration) *time.Duration { return &d }
	want := *got
	want.Relay = Relay{Engine: "loop", Workers: 3}
	want.Handover = "/run/argosy/edge.handover"
	want.AccessLog = &AccessLog{File: "stderr", Open: true, Interval: time.Minute}
	want.Listeners = []Listener{{
		Name: "db", Network: "unix", Address: "/run/db.sock", Unix: UnixSocket{Mode: 0o600, Owner: "app", Group: "db"}, MaxConnections: 10,
		SNI: &SNI{Prefix: path("/sni"), Timeout: 3 * time.Second, ALPN: []ALPNRoute{{"h2", path("/svc/web")}, {"postgresql", path("/svc/db")}}},
		TLS: &ServerTLS{Certificates: []Certificate{{cert, key, ocsp}, {cert, key, ""}}, ClientCAFile: cert, ClientAuth: "optional",
			MinVersion: tls.VersionTLS13, ALPN: []string{"h2"}},
		Deny:           Deny{Action: DenyDrain, Grace: time.Minute, Rate: 0.5},
		Limits:         Limits{PerSource: 5, Rate: 2.5, Burst: 2, AtLimit: Queue, QueueLength: 7, QueueTimeout: 6 * time.Second, Handshakes: 50},
		ConnectTimeout: 10 * time.Second,
		Timeouts: Timeouts{Handshake: time.Second, FirstByte: 2 * time.Second, Idle: 4 * time.Second, HalfClose: 3 * time.Second,
			Lifetime: time.Hour, LifetimeJitter: 0.5},
		ProxyProtocol: &ProxyProtocol{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, Optional: true},
		Socket:        socket.Options{UserTimeout: time.Minute, Mark: 7}, FastOpen: 16,
	}}
	want.Clients = []Client{{
		Prefix: dtab.MustParsePrefix("/svc/db"), ConnectTimeout: time.Second, Retries: 2, RetryBudget: 0.5, MaxConnections: 9, AtLimit: Queue,
		ProxyProtocol: "v2",
		Timeouts:      ClientTimeouts{FirstByte: after(time.Second), Idle: after(0), HalfClose: after(2 * time.Second), Lifetime: after(3 * time.Second)},
		Socket:        socket.Options{NoDelay: true, KeepAlive: 15 * time.Second}, FastOpen: true,
		TLS: &ClientTLS{SPIFFEID: "spiffe://example.org/db", Pins: []string{pin}, ALPN: []string{"postgresql"}, StartTLS: "postgres",
			MinVersion: tls.VersionTLS13},
		Balance:   Balance{Policy: Hash, HashOn: "sni", SlowStart: 30 * time.Second},
		Ejection:  Ejection{Failures: 3, Time: 5 * time.Second, MaxTime: time.Minute, MaxShare: 0.5},
		Removed:   Removed{Action: ActionCut, After: 10 * time.Second, Rate: 2},
		Rebalance: &Rebalance{Rate: 0.5, Quiet: 5 * time.Second},
	}}
	if !reflect.DeepEqual(got, &want) {
		t.Errorf("got  %+v\nwant %+v", got, &want)
	}
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
		Consul: settings.Consul{Timeout: 10 * time.Second, WatchConnections: 80},
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
	withDefaults(want)
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
  registration     = "self"
  check            = "ttl"
  ttl              = "45s"
  tcp_check        = true
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
  services = { redis = ["127.0.0.1:6379", "[::1]:6379 * 0.5", "/run/redis.sock"], none = [] }
}
listener "redis" {
  address         = "0.0.0.0:${env("NOMAD_PORT_redis")}"
  reuse_port      = "true"
  destination     = "/svc/redis"
  max_connections = env("ARGOSY_TEST_UNSET", "100")
  connect_timeout = "2s"
  idle_timeout    = "1h"
  tls {
    connect = "redis-proxy"
    on_deny = "close"
  }
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
			Datacenter: "dc2", Timeout: 3 * time.Second, WatchConnections: 80},
		Dtab: Dtab{Namespace: "blue-1", Namerd: &Namerd{Address: "http://namerd.example:4180/base", TokenFile: token},
			Local: mustParse("/svc/x => /svc/y"), EmptyStops: true, AlternativeTimeout: 500 * time.Millisecond, MaxNames: 50, MaxWatches: 200},
		Namers: []mounts.Namer{
			{Kind: "io.l5d.consul", Prefix: path("/#/tagged"), Consul: &mounts.Consul{Options: consul.Options{IncludeTag: true, Connect: consul.ConnectAlways,
				Consistency: "default", GuardHold: 15 * time.Second, GuardShare: 0.5}}},
			{Kind: "io.l5d.fs", Prefix: path("/#/io.l5d.fs"), FS: &mounts.FS{RootDir: dir}},
			{Kind: "io.l5d.rewrite", Prefix: path("/#/hosts"), Rewrite: &mounts.Rewrite{Pattern: "/{service}.example", Name: "/svc/{service}"}},
			{Kind: "static", Prefix: path("/#/static"), Static: map[string][]string{"redis": {"127.0.0.1:6379", "[::1]:6379 * 0.5", "/run/redis.sock"}, "none": {}}},
		},
		Listeners: []Listener{
			{Name: "redis", Network: "tcp", Address: "0.0.0.0:23456", ReusePort: true, Destination: path("/svc/redis"), MaxConnections: 100,
				ConnectTimeout: 2 * time.Second, Timeouts: Timeouts{Idle: time.Hour}, TLS: &ServerTLS{Connect: "redis-proxy", MinVersion: tls.VersionTLS12},
				Register: &ListenerEntry{Service: "redis-proxy", Port: 7474, Native: true}},
			{Name: "edge", Network: "tcp", Address: "127.0.0.1:7475", ConnectTimeout: 10 * time.Second,
				SNI: &SNI{Prefix: path("/edge"), Default: path("/svc/web"), Timeout: time.Second}, Register: &ListenerEntry{Service: "edge"}},
		},
		Clients: []Client{
			{Prefix: dtab.MustParsePrefix("/svc/*/web"), ConnectTimeout: 100 * time.Millisecond, TLS: &ClientTLS{ServerName: "web.example", MinVersion: tls.VersionTLS12}},
			{Prefix: dtab.MustParsePrefix("/svc"), ConnectTimeout: time.Second, Retries: 2, TLS: &ClientTLS{Connect: "edge", MinVersion: tls.VersionTLS12}},
		},
		Register: &Register{ID: "edge-1", Tags: []string{"a", "b"}, Meta: map[string]string{"team": "core"}, Address: "10.0.0.7",
			Registration: "self", Check: "ttl", TTL: 45 * time.Second, TCPCheck: true, CheckInterval: time.Second, CheckTimeout: 500 * time.Millisecond, DeregisterAfter: time.Hour},
		Drain: Drain{Timeout: time.Minute},
	}
	withDefaults(want)
	want.Listeners[0].Deny.Action = DenyClose
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
	if got.Drain.Propagation != 3*time.Second || got.Register == nil || got.Register.CheckInterval != 5*time.Second ||
		got.Register.Registration != "auto" || got.Register.Check != "ttl" || got.Register.TTL != 30*time.Second || got.Register.TCPCheck {
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
