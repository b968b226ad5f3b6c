package config

import (
	"path/filepath"
	"testing"
)

// Under Nomad the token of a task is in a file whose folder only the environment tells. It stays a file, to be read again.
func TestTokenFileOfNomad(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("NOMAD_SECRETS_DIR", dir)
	write(t, dir, "consul_token", "secret-of-the-task\n")
	c, err := Load([]string{write(t, dir, "agent.hcl", `
dtab {
  static = "/svc => /#/static"
}
listener "in" {
  address     = "127.0.0.1:0"
  destination = "/svc/a"
}
consul {
  token_file = "${env("NOMAD_SECRETS_DIR")}/consul_token"
}
`)})
	if err != nil {
		t.Fatal(err)
	}
	if c.Consul.TokenFile != filepath.Join(dir, "consul_token") || !c.Consul.Token.IsZero() {
		t.Errorf("got %+v", c.Consul)
	}
}
