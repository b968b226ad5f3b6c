package dev

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	agentconfig "argosy/agent/config"
	"argosy/dtab"
	"argosy/internal/devca"
	namerdconfig "argosy/namerd/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	t.Setenv("GREETING", "hi")
	c, err := Load(write(t, `
		dtab = "/svc => /#/io.l5d.fs"
		service "cache-1" {
		  command = ["redis", "-p", "${port.redis_main}", 7, env("GREETING"), "$HOME"]
		  env     = { CACHE = "${proxy.fleet}", WHERE = argosy }
		  ports   = ["redis_main", "admin"]
		  min          = 1
		  max          = 3
		  target_value = 2.5
		  cooldown_up  = "3s"
		}
		proxy "fleet" {
		  destination = "/svc/cache-1"
		  mtls        = true
		}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "test" || c.Namerd != "127.0.0.1:0" || len(c.Services) != 1 || len(c.Proxies) != 1 {
		t.Fatalf("got %+v", c)
	}
	s, p := c.Services[0], c.Proxies[0]
	if got := strings.Join(s.Command, " "); got != "redis -p ${ARGOSY_PORT_REDIS_MAIN} 7 hi $HOME" {
		t.Errorf("command is %s", got)
	}
	if got := strings.Join(s.Env, " "); got != "CACHE=${ARGOSY_PROXY_FLEET} WHERE=${ARGOSY_BINARY}" {
		t.Errorf("env is %s", got)
	}
	if l := s.Scale.Policy; l == nil || l.Min != 1 || l.Max != 3 || l.TargetValue != 2.5 || l.CooldownUp != 3*time.Second || l.CooldownDown != 10*time.Second || s.Scale.Count != 1 {
		t.Errorf("scale is %+v", s.Scale)
	}
	if p.Scale.Policy != nil || p.Scale.Count != 1 || !p.MTLS || p.Destination.String() != "/svc/cache-1" || p.Drain != 15*time.Second {
		t.Errorf("proxy is %+v", p)
	}
}

func TestMistakesAreAllToldWithTheirPlace(t *testing.T) {
	_, err := Load("testdata/wrong.hcl")
	if err == nil {
		t.Fatal("no error")
	}
	if _, ok := err.(interface{ InvalidConfig() }); !ok {
		t.Errorf("%T does not say that the configuration is wrong", err)
	}
	for _, want := range []string{
		"wrong.hcl:2:", "no dtab",
		"wrong.hcl:5:26", "wrong.hcl:5:43", "wrong.hcl:5:60", "wrong.hcl:6:", "no label for a port",
		`wrong.hcl:9:9: the name "a" is used twice`, "wrong.hcl:10:", "belong together",
		"wrong.hcl:16:", "listed twice", "wrong.hcl:17:", "wrong.hcl:18:", "above max",
		"wrong.hcl:25:", "is no path", "wrong.hcl:26:",
		"wrong.hcl:30:", "listens there already", "wrong.hcl:32:", "wrong.hcl:33:", "colour",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

// What is written for agents must be what agents understand.
func TestAgentsUnderstandTheirConfiguration(t *testing.T) {
	t.Setenv("ARGOSY_PORT_ADMIN", "19990")
	c, err := Load(write(t, `
		dtab = "/svc => /#/io.l5d.fs"
		proxy "fleet" {
		  destination = "/svc/cache"
		}`))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(dir, "cache")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "agent.hcl")
	if err := os.WriteFile(path, agentConfig(c.Proxies[0], "127.0.0.1:7474", "http://127.0.0.1:4180", dir, &files), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := agentconfig.Load([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	l := got.Listeners[0]
	if got.Name != "fleet" || got.Admin.Address != "127.0.0.1:19990" || l.Address != "127.0.0.1:7474" || !l.ReusePort ||
		l.Destination.String() != "/svc/cache" || l.TLS == nil || l.TLS.ClientCAFile != files.CA ||
		got.Dtab.Namerd == nil || got.Dtab.Namespace != Namespace || got.Drain.Timeout != 15*time.Second || got.Drain.Propagation != 0 {
		t.Errorf("got %+v, listener %+v", got, l)
	}
}

func TestNamerdUnderstandsItsConfiguration(t *testing.T) {
	table, err := dtab.Parse(`/svc => /#/io.l5d.fs; /svc/a => 3 * /x & 7 * /y | /$/nil ;`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := namerdconfig.Load([]string{write(t, string(namerdConfig("127.0.0.1:4190", table)))})
	if err != nil {
		t.Fatal(err)
	}
	if got.HTTP.Address != "127.0.0.1:4190" || got.Memory == nil || !got.Memory.Namespaces[Namespace].Equal(table) {
		t.Errorf("got %+v, %v", got, got.Memory)
	}
}
