package agent

import (
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
)

// TestSettings: what is in force on the way to a destination, and where it comes from.
func TestSettings(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}, "plain": {redis.addr}})
	l := config.DefaultListener()
	l.Name, l.Address, l.Destination = "redis", "127.0.0.1:0", dtab.MustParsePath("/svc/redis")
	l.Timeouts.Idle, l.Limits.Rate, l.Socket.KeepAlive = time.Hour, 2.5, time.Minute
	second := config.DefaultListener()
	second.Name, second.Address, second.Destination = "plain", "127.0.0.1:0", dtab.MustParsePath("/svc/plain")
	sni := config.DefaultListener()
	sni.Name, sni.Address, sni.SNI = "sni", "127.0.0.1:0", config.DefaultSNI()
	sni.SNI.Default = dtab.MustParsePath("/svc/plain")
	cfg.Listeners = []config.Listener{l, second, sni}
	c := config.DefaultClient()
	prefix, err := dtab.ParsePrefix("/svc/redis")
	if err != nil {
		t.Fatal(err)
	}
	never := time.Duration(0)
	c.Prefix, c.Retries, c.Timeouts.HalfClose = prefix, 5, &never
	cfg.Clients = []config.Client{c}
	p := startAgent(t, cfg)

	_, body := p.get("/v1/routes")
	routes := decode[RoutesInfo](t, body)
	expect := func(s Settings, key, value, from string) {
		t.Helper()
		if got := s[key]; got != (Setting{value, from}) {
			t.Errorf("%s is %+v, want %s from %s", key, got, value, from)
		}
	}
	own := routes.Listeners[0].Settings
	expect(own, "idle_timeout", "1h0m0s", "listener redis")
	expect(own, "limits.rate", "2.5", "listener redis")
	expect(own, "socket.keepalive", "1m0s", "listener redis")
	expect(own, "handshake_timeout", "10s", "default")
	expect(own, "half_close_timeout", "5m0s", "default")
	expect(routes.Listeners[2].Settings, "sni.timeout", "3s", "default")

	byName := map[string]DestinationInfo{}
	for _, d := range routes.Destinations {
		byName[d.Name] = d
	}
	ways := byName["/svc/redis"].Paths
	if len(ways) != 1 || ways[0].Listener != "redis" || ways[0].Client != "/svc/redis" || len(ways[0].Clusters) != 1 {
		t.Fatalf("ways %+v", ways)
	}
	expect(ways[0].Settings, "idle_timeout", "1h0m0s", "listener redis")
	expect(ways[0].Settings, "half_close_timeout", "0s", "client /svc/redis")
	expect(ways[0].Settings, "retries", "5", "client /svc/redis")
	expect(ways[0].Settings, "connect_timeout", "1s", "default")
	expect(ways[0].Settings, "max_lifetime", "0s", "default")
	ways = byName["/svc/plain"].Paths
	if len(ways) != 2 || ways[0].Client != "" || ways[1].Listener != "sni" {
		t.Fatalf("ways %+v", ways)
	}
	expect(ways[0].Settings, "retries", "2", "default")
	expect(ways[0].Settings, "idle_timeout", "0s", "default")
}
