package house

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

type listed struct {
	ImportPath string
	Name, Doc  string
	Dir        string
	Imports    []string
	GoFiles    []string
}

// packages lists this module's packages, with what they import outside tests.
func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Dir,Imports,GoFiles", "argosy/...").Output()
	if err != nil {
		t.Fatalf("list the packages: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages listed", len(all))
	}
	return all
}

// below reports whether path is dir or lies in it.
func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func belowAny(path string, dirs ...string) bool {
	for _, d := range dirs {
		if below(path, d) {
			return true
		}
	}
	return false
}

// rules name what a package must not import; each tells why it is there.
var rules = []struct {
	why    string
	broken func(from, to string) bool
}{
	{"the data plane and the scheduler meet only in metrics; only commands import both", func(from, to string) bool {
		return below(from, "argosy/agent") && below(to, "argosy/scheduler") ||
			below(from, "argosy/scheduler") && below(to, "argosy/agent")
	}},
	{"the language is pure", func(from, to string) bool {
		return belowAny(from, "argosy/dtab", "argosy/internal/watch") && below(to, "argosy") && to != "argosy/dtab"
	}},
	{"a namer stands alone", func(from, to string) bool {
		return mechanism(from) != "" && mechanism(to) != "" && mechanism(from) != mechanism(to)
	}},
	{"Consul's client stays with those who speak to Consul", func(from, to string) bool {
		return below(to, "github.com/hashicorp/consul") && !belowAny(from, "argosy/namer/consul", "argosy/namerd/store/consul",
			"argosy/agent/identity", "argosy/agent/register", "argosy/scheduler/discovery", "argosy/scheduler/lock",
			"argosy/internal/consulclient", "argosy/internal/blockq", "argosy/internal/consultest", "argosy/e2e", "argosy/demo/nomad")
	}},
	{"Nomad's client stays with those who speak to Nomad", func(from, to string) bool {
		return below(to, "github.com/hashicorp/nomad") && !belowAny(from, "argosy/namer/nomad",
			"argosy/internal/nomadclient", "argosy/scheduler/target/nomad", "argosy/scheduler/policies", "argosy/e2e", "argosy/demo/nomad")
	}},
	{"the servers themselves are tools, never libraries", func(from, to string) bool {
		return below(to, "github.com/hashicorp/consul") && !below(to, "github.com/hashicorp/consul/api") ||
			below(to, "github.com/hashicorp/nomad") && !below(to, "github.com/hashicorp/nomad/api") ||
			below(to, "github.com/prometheus/prometheus")
	}},
	{"gRPC stays with those who speak it", func(from, to string) bool {
		return below(to, "google.golang.org/grpc") && !belowAny(from, "argosy/namerd/mesh", "argosy/agent/identity")
	}},
	{"libraries never import a command", func(from, to string) bool { return below(to, "argosy/cmd") }},
}

// mechanism is the X of namer/X, or nothing for the contract, its test suites, the configuration of all, and all other
// packages.
func mechanism(path string) string {
	rest, ok := strings.CutPrefix(path, "argosy/namer/")
	if !ok {
		return ""
	}
	x, _, _ := strings.Cut(rest, "/")
	switch x {
	case "namertest", "manual", "mounts":
		return ""
	}
	return x
}

func TestImportDirections(t *testing.T) {
	for _, p := range packages(t) {
		for _, to := range p.Imports {
			for _, r := range rules {
				if r.broken(p.ImportPath, to) {
					t.Errorf("%s imports %s: %s", p.ImportPath, to, r.why)
				}
			}
		}
	}
}
