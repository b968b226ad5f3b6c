package config

import (
	"reflect"
	"testing"
	"time"
)

func TestInterpreter(t *testing.T) {
	t.Parallel()
	const rest = `
listener "redis" {
  address     = "127.0.0.1:7474"
  destination = "/svc/redis"
}
`
	dir := t.TempDir()
	token := write(t, dir, "token", "secret")
	for _, c := range []struct {
		text string
		want Interpreter
	}{
		{`interpreter "namerd" {}`, Interpreter{Namerd: Namerd{Address: "http://127.0.0.1:4180"}, Namespace: "default", Mode: "auto",
			PollInterval: 10 * time.Second, MaxStreams: 1000}},
		{`interpreter "namerd" {
  address       = "https://namerd.example/base/"
  namespace     = "blue"
  local         = "/svc/x => /svc/y"
  token_file    = "` + token + `"
  mode          = "poll"
  poll_interval = "20s"
  max_streams   = 7
}`, Interpreter{Namerd: Namerd{Address: "https://namerd.example/base", TokenFile: token}, Namespace: "blue", Local: mustParse("/svc/x => /svc/y"),
			Mode: "poll", PollInterval: 20 * time.Second, MaxStreams: 7}},
	} {
		got, err := Load([]string{write(t, t.TempDir(), "agent.hcl", c.text+rest)})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Interpreter, &c.want) || !reflect.DeepEqual(got.Dtab, Dtab{}) || got.Namers != nil {
			t.Errorf("got  %+v %+v\nwant %+v", got.Interpreter, got.Dtab, c.want)
		}
	}
}
