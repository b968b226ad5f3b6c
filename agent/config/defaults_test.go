package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// What is said to be the default is what a file that says nothing gets.
func TestDefaultsAreThoseOfAnEmptyBlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.hcl")
	text := `
dtab { static = "/svc => /#/static" }
listener "a" {
  address     = "127.0.0.1:7474"
  destination = "/svc/a"
}
client "/svc" {}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	l, c := DefaultListener(), DefaultClient()
	l.Name, l.Address, l.Destination = cfg.Listeners[0].Name, cfg.Listeners[0].Address, cfg.Listeners[0].Destination
	if !reflect.DeepEqual(l, cfg.Listeners[0]) {
		t.Errorf("listener %+v, want %+v", l, cfg.Listeners[0])
	}
	c.Prefix = cfg.Clients[0].Prefix
	if !reflect.DeepEqual(c, cfg.Clients[0]) {
		t.Errorf("client %+v, want %+v", c, cfg.Clients[0])
	}
	if l.ConnectTimeout == 0 || c.ConnectTimeout == 0 {
		t.Error("nothing has a default")
	}
}
