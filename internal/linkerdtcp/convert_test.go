package linkerdtcp

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	agentconfig "argosy/agent/config"
	"argosy/internal/devca"
	"argosy/internal/hclx"
)

var update = flag.Bool("update", false, "write the golden files")

func TestConvert(t *testing.T) {
	for _, c := range []struct{ file, router, golden string }{
		{"demo.yml", "", "demo"},
		{"full.yml", "", "full"},
		{"full.yml", "elsewhere", "elsewhere"},
	} {
		t.Run(c.golden, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", c.file))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Convert(c.file, text, Options{Router: c.router})
			if err != nil {
				t.Fatal(err)
			}
			all := got.HCL + "\n"
			for _, f := range got.Findings {
				all += fmt.Sprintf("# %d:%d lost=%v %s: %s = %s\n", f.Line, f.Column, f.Lost, f.Key, f.Message, f.Hint)
			}
			file := filepath.Join("testdata", c.golden+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(all), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if all != string(want) {
				t.Errorf("--- got\n%s--- want\n%s", all, want)
			}
			load(t, got.HCL)
		})
	}
}

// load checks that an agent could start with a result, and returns what it would start with.
func load(t *testing.T, hcl string) *agentconfig.Config {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue("edge")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"agent.hcl": []byte(hcl), "cert.pem": leaf.Cert, "chain.pem": leaf.Cert, "key.pem": leaf.Key, "ca.pem": ca.PEM(),
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := agentconfig.Load([]string{"agent.hcl"})
	if err != nil {
		t.Fatalf("the result is not valid: %v\n%s", err, hcl)
	}
	return cfg
}

// What was said arrives where the agent looks for it.
func TestConvertedMeaning(t *testing.T) {
	text, err := os.ReadFile("testdata/full.yml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Convert("full.yml", text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := load(t, got.HCL)
	var parts []string
	for _, l := range cfg.Listeners {
		parts = append(parts, fmt.Sprintf("%s %s %s %v %d %v", l.Name, l.Address, l.Destination, l.ConnectTimeout, l.MaxConnections, l.TLS != nil))
	}
	for _, c := range cfg.Clients {
		parts = append(parts, fmt.Sprintf("%s %v %+v", c.Prefix, c.ConnectTimeout, c.TLS))
	}
	i := cfg.Interpreter
	parts = append(parts, fmt.Sprintf("%s %s %v %v", i.Address, i.Namespace, i.PollInterval, cfg.Drain.Timeout))
	want := []string{
		"edge---x----one [::1]:7474 /svc/google/mail 1.5s 500 true",
		"edge---x----one-2 127.0.0.1:7475 /svc/redis 10s 0 false",
		"second 127.0.0.1:7476 /svc/redis 1h0m0s 0 false",
		"/svc/google/mail 1ms &{ServerName:mail ${google} SPIFFEID: Pins:[] ALPN:[] StartTLS: MinVersion:771 CAFile: CertFile: KeyFile: Connect:}",
		"/svc/google 400ms &{ServerName:google.com SPIFFEID: Pins:[] ALPN:[] StartTLS: MinVersion:771 CAFile:ca.pem CertFile: KeyFile: Connect:}",
		"/svc/redis 250ms <nil>",
		"http://namerd.example:4180/base default 1m30s 25s",
	}
	if strings.Join(parts, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(parts, "\n"), strings.Join(want, "\n"))
	}
}

const minimal = `routers:
- label: redis
  interpreter: {kind: io.l5d.namerd.http, baseUrl: "http://n:1", namespace: default, periodSecs: 1}
  servers:
  - {port: 1, dstName: /svc/redis}
`

func TestMistakes(t *testing.T) {
	if _, err := Convert("f", []byte(minimal), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"", "f: there is nothing in it"},
		{"# only this\n", "f: there is nothing in it"},
		{"routers:\n  a: b: c\n", "f:2:3: no YAML: mapping values are not allowed in this context"},
		{"a: 1\n\tb: 2\n", "f:2:2: no YAML: found a tab character that violates indentation"},
		{"- a\n", "f:1:1: the configuration must be a map"},
		{"admin: 1\n", "f:1:1: routers is missing"},
		{"routers: []\n", "f:1:10: there is no router"},
		{"routers: 5\n", "f:1:10: routers must be a list"},
		{minimal + "---\n" + minimal, "f:6:1: a second document"},
		{minimal + "routers: []\n", "f:6:1: routers is there twice"},
		{strings.Replace(minimal, "port: 1", "port: x", 1), "f:5:12: routers[0].servers[0].port must be a whole number"},
		{strings.Replace(minimal, "port: 1", "port: 65536", 1), "f:5:12: routers[0].servers[0].port must be from 0 to 65535"},
		{strings.Replace(minimal, "/svc/redis", "svc", 1), `f:5:24: routers[0].servers[0].dstName "svc" is no name`},
		{strings.Replace(minimal, ", dstName: /svc/redis", "", 1), "f:5:5: routers[0].servers[0].dstName is missing"},
		{strings.Replace(minimal, ", periodSecs: 1", ", periodSecs: 0", 1), "routers[0].interpreter.periodSecs must be from 1 to 2147483647"},
		{strings.Replace(minimal, "namerd.http", "fs", 1), `unknown kind of interpreter "io.l5d.fs"`},
		{minimal + "  client: {kind: x}\n", `f:6:11: unknown kind of client "x"`},
		{minimal + "  client: {kind: io.l5d.static}\n", "f:6:11: routers[0].client.configs is missing"},
		{strings.Replace(minimal, "servers:\n  - {port: 1, dstName: /svc/redis}", "servers: []", 1), "routers[0] has no server"},
		{"a: &a [*a]\n", "f:1:"}, // an alias of what it stands in
		{strings.Repeat("[", 20_000), "no YAML"},
		{strings.Repeat("x", maxText+1), "f: more than 1048576 bytes"},
	} {
		_, err := Convert("f", []byte(c.text), Options{})
		var invalid *hclx.Error
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q\ngot  %.300v\nwant %s", c.text, err, c.want)
		}
	}
	if _, err := Convert("f", []byte(minimal), Options{Router: "x"}); err == nil || err.Error() != `f has no router with the label "x"` {
		t.Error(err)
	}
}

// Aliases of aliases are not followed beyond reason.
func TestAliasBomb(t *testing.T) {
	text := "x: &s {port: 1, dstName: /a}\ny: &l [" + strings.Repeat("*s,", 2000) + "]\n" +
		"z: &r {label: a, servers: *l, interpreter: {kind: io.l5d.namerd.http, baseUrl: 'http://n:1', namespace: d, periodSecs: 1}}\n" +
		"routers: [" + strings.Repeat("*r,", 2000) + "]\n"
	_, err := Convert("f", []byte(text), Options{})
	if err == nil || !strings.Contains(err.Error(), "with all its aliases") {
		t.Errorf("%.300v", err)
	}
}

// JSON is taken as linkerd-tcp takes it.
func TestJSON(t *testing.T) {
	got, err := Convert("f.json", []byte(`{"routers":[{"label":"redis","interpreter":{"kind":"io.l5d.namerd.http","baseUrl":"http://n:1","namespace":"default","periodSecs":1},
	"servers":[{"port":7474,"dstName":"/svc/redis","connectTimeoutMs":100}]}]}`), Options{})
	if err != nil || len(got.Findings) != 0 {
		t.Fatal(err, got.Findings)
	}
	load(t, got.HCL)
}

func FuzzConvert(f *testing.F) {
	for _, file := range []string{"testdata/demo.yml", "testdata/full.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Convert("f", text, Options{})
		if (err == nil) != (got.HCL != "") {
			t.Errorf("%q gives %q and %v", text, got.HCL, err)
		}
	})
}
