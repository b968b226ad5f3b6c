package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy/internal/hclx"
	"argosy/scheduler/law"
	"argosy/scheduler/policies"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Load([]string{write(t, text)})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return c
}

func TestExamplesLoad(t *testing.T) {
	for _, name := range []string{"scheduler.hcl", "scheduler-laptop.hcl"} {
		c, err := Load([]string{filepath.Join("..", "..", "hcl", name)})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for _, p := range c.Policies {
			if err := p.Law.Validate(); err != nil {
				t.Errorf("%s: policy %s: %v", name, p.Name, err)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	c := load(t, `
		prometheus { address = "http://127.0.0.1:9090/" }
		nomad {}
		policy "fleet" {
			target "nomad" { job = "proxy" }
			query = "sum(x)"
			target_value = 50
			max = 5
		}`)
	if c.Name != "argosy-scheduler" || c.Interval != 2*time.Second || c.HTTP.Address != "127.0.0.1:9993" || c.Log.Level != "info" ||
		c.Prometheus.Timeout != 5*time.Second || c.Prometheus.Address != "http://127.0.0.1:9090" || c.Nomad.Namespaces[0] != "default" || c.Jobs.Watch || c.Consul != nil {
		t.Errorf("%+v", c)
	}
	p := c.Policies[0]
	want := law.Policy{TargetValue: 50, Tolerance: policies.DefaultTolerance, Min: policies.DefaultMin, Max: 5,
		CooldownUp: policies.DefaultCooldownUp, CooldownDown: policies.DefaultCooldownDown, DownWindow: policies.DefaultCooldownDown, MaxAge: policies.DefaultMaxAge}
	if p.Law != want {
		t.Errorf("the defaults here and in the jobs' policies differ: %+v, want %+v", p.Law, want)
	}
	if p.Target != (policies.Ref{Kind: "nomad", Namespace: "default", Job: "proxy", Group: "proxy"}) || !strings.HasSuffix(p.Origin, "s.hcl:4:3") {
		t.Errorf("%+v", p)
	}
}

func TestEverythingSet(t *testing.T) {
	token := write(t, "s3cret\n")
	t.Setenv("TARGETS", "/tmp/targets.json")
	c := load(t, `
		name = "s1"
		evaluation_interval = "500ms"
		log { 
			level = "debug" 
			format = "json"
		}
		http { address = "127.0.0.1:0" }
		nomad { 
			address = "http://127.0.0.1:4646"
			token_file = "`+token+`"
			region = "eu"
			namespaces = ["a", "b"]
		}
		consul { address = "127.0.0.1:8500" }
		discovery { services = ["argosy-proxy"] }
		scrape { 
			targets_file = env("TARGETS")
			targets = ["127.0.0.1:1"]
			interval = "250ms"
		}
		jobs { namespaces = ["b"] }
		policy "fleet" {
			target "process" { name = "proxy" }
			metric = "argosy_connections_active"
			match = { listener = "redis" }
			target_value = 2.5
			tolerance = 0
			min = 0
			max = 5
			cooldown_up = "0s"
			cooldown_down = "1s"
			down_window = "3s"
			max_age = "4s"
			step_up = 2
			step_down = 1
		}`)
	if c.Nomad.TokenFile != token || c.Nomad.Region != "eu" || c.Consul.Address != "127.0.0.1:8500" || c.Discovery.Services[0] != "argosy-proxy" ||
		c.Scrape.TargetsFile != "/tmp/targets.json" || c.Scrape.Interval != 250*time.Millisecond || !c.Jobs.Watch || c.Jobs.Namespaces[0] != "b" {
		t.Errorf("%+v", c)
	}
	p := c.Policies[0]
	want := law.Policy{TargetValue: 2.5, Max: 5, CooldownDown: time.Second, DownWindow: 3 * time.Second, MaxAge: 4 * time.Second, StepUp: 2, StepDown: 1}
	if p.Law != want || p.Query.Match["listener"] != "redis" || p.Query.MaxAge != 4*time.Second || p.Target.Process != "proxy" {
		t.Errorf("%+v", p)
	}
}

func TestNomadSocket(t *testing.T) {
	t.Setenv("NOMAD_SECRETS_DIR", "/secrets")
	if c := load(t, `nomad { address = "unix://${env("NOMAD_SECRETS_DIR")}/api.sock" }`); c.Nomad.Address != "unix:///secrets/api.sock" {
		t.Error(c.Nomad.Address)
	}
}

// Each mistake is found, at its place, and all at once.
func TestMistakes(t *testing.T) {
	policy := func(s string) string {
		return "nomad {}\nprometheus { address = \"http://127.0.0.1:9090\" }\npolicy \"p\" {\n" + s + "\n}\n"
	}
	const target, rest = "target \"nomad\" { job = \"j\" }\n", "query = \"x\"\ntarget_value = 1\nmax = 2\n"
	for _, c := range []struct{ text, want string }{
		{policy(target + "query = \"x\"\nmax = 2"), "target_value is missing"},
		{policy(target + "query = \"x\"\ntarget_value = 1"), "max is missing"},
		{policy(target + rest + "min = 3"), "7:7: min is 3, above max, which is 2"[2:]},
		{policy(target + rest + "min = -1"), "min cannot be -1"},
		{policy(target + rest + "cooldown_up = \"soon\""), "is no duration"},
		{policy(target + rest + "cooldown_up = 5"), "needs a unit"},
		{policy(target + rest + "cooldwn_up = \"5s\""), `did you mean "cooldown_up"?`},
		{policy(target + rest + "max_age = \"1s\""), "at least twice the evaluation_interval"},
		{policy(target + rest + "metric = \"m\""), "query and metric are both set"},
		{policy(target + "target_value = 1\nmax = 2"), "neither query nor metric"},
		{policy(target + "metric = \"sum(x)\"\ntarget_value = 1\nmax = 2"), "for an expression use query"},
		{policy(target + rest + "match = { a = \"b\" }"), "match belongs to metric"},
		{policy(target + "query = \"x\"\ntarget_value = 0\nmax = 2"), "target_value cannot be 0"},
		{policy(rest), "exactly one target block"},
		{policy(target + target + rest), "exactly one target block"},
		{policy("target \"vm\" { }\n" + rest), `there is no target "vm"`},
		{policy("target \"nomad\" { }\n" + rest), "the target needs a job"},
		{policy("target \"process\" { }\n" + rest), "the target needs a name"},
		{policy("target \"process\" {\nname = \"p\"\njob = \"j\"\n }\n" + rest), "a process target has no job"},
		{policy("target \"nomad\" {\njob = \"j\"\nnamespace = \"other\"\n}\n" + rest), `namespace "other" may not be scaled`},
		{policy(target+rest) + "policy \"p\" {\ntarget \"nomad\" { job = \"k\" }\n" + rest + "}", `second policy with the name "p"`},
		{policy(target+rest) + "policy \"q\" {\n" + target + rest + "}", "second policy for the target nomad default/j/j"},
		{"policy \"p\" {\n" + target + rest + "}", "a nomad target needs a nomad block"},
		{"nomad {}\npolicy \"p\" {\n" + target + rest + "}", "query needs a prometheus block"},
		{"jobs {}", "the jobs block needs a nomad block"},
		{"nomad {}\njobs { namespaces = [\"x\"] }", `namespace "x" may not be scaled`},
		{"discovery { services = [] }", "services is empty"},
		{"discovery {}", "services is missing"},
		{"prometheus {}", "address is missing"},
		{"prometheus { address = \"127.0.0.1:9090\" }", "http://127.0.0.1:9090"},
		{"http { address = 9993 }", "host:port"},
		{"evaluation_interval = \"1ms\"", "evaluation_interval cannot be 1ms"},
		{"nomad { address = \"unix:relative\" }", "is no URL"},
		{"nomad { cert_file = \"x\" }", "key"},
		{"polcy \"x\" {}", `did you mean "policy"?`},
	} {
		_, err := Load([]string{write(t, c.text)})
		var problems *hclx.Error
		if !errors.As(err, &problems) {
			t.Errorf("%s\ngot %v, want %q", c.text, err, c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot %v\nwant %q", c.text, err, c.want)
		}
		for _, p := range problems.Problems {
			if p.Line == 0 {
				t.Errorf("%s\nno place: %+v", c.text, p)
			}
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := Load([]string{write(t, "evaluation_interval = \"x\"\nhttp { address = \"y\" }\njobs {}")})
	var problems *hclx.Error
	if !errors.As(err, &problems) || len(problems.Problems) != 3 {
		t.Errorf("%v", err)
	}
}
