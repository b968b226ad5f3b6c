package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// rulesFor is the policy of a configuration without its comments, on one line.
func rulesFor(t *testing.T, text string) string {
	t.Helper()
	code, out, errs := call(t, "", "validate", "-acl", inFile(t, text))
	if code != exitOK || errs != "" {
		t.Fatal(code, errs)
	}
	var all []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "#") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return strings.Join(strings.Fields(strings.Join(all, " ")), " ")
}

func TestPolicyOfConfigurations(t *testing.T) {
	const (
		static   = "dtab {\n  static = \"/svc => /#/static\"\n}\nnamer \"static\" {\n  services = { a = [\"127.0.0.1:1\"] }\n}\n"
		listener = "listener \"in\" {\n  address     = \"127.0.0.1:0\"\n  destination = \"/svc/a\"\n"
		found    = ` service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`
	)
	for _, c := range []struct{ name, text, want string }{
		{"nothing", static + listener + "}\n", ""},
		{"table", "dtab {\n  namespace = \"edge\"\n  consul {\n    path_prefix = \"/a/b/\"\n  }\n}\n" + listener + "}\n", `key "a/b/edge" { policy = "read" }`},
		{"namer", static + "namer \"io.l5d.consul\" {}\n" + listener + "}\n", found},
		{"registered", static + "name = \"web\"\nconsul {}\n" + listener + "  register {}\n}\n", `service "web" { policy = "write" }`},
		{"registered by others", static + "name = \"web\"\nconsul {}\nregister {\n  registration = \"external\"\n}\n" + listener + "  register {}\n}\n", `service "web" { policy = "read" }`},
		{"registered under another name", static + "consul {}\n" + listener + "  register {\n    service = \"db\"\n  }\n}\n", `service "db" { policy = "write" }`},
		{"identities", static + "consul {}\n" + listener + "  tls {\n    connect = \"web\"\n  }\n}\nclient \"/svc\" {\n  tls {\n    connect = \"api\"\n  }\n}\n",
			`service "api" { policy = "write" } service "web" { policy = "write" }`},
		{"admin", static + "consul {}\nadmin {\n  tls {\n    connect = \"admin\"\n    clients = [\"ops\"]\n  }\n}\n" + listener + "}\n", `service "admin" { policy = "write" }`},
		{"identities from servers", static + "consul {}\nconnect {\n  source = \"servers\"\n}\n" + listener + "  tls {\n    connect = \"web\"\n  }\n}\n",
			`service "consul" { policy = "read" } service "web" { policy = "write" } node_prefix "" { policy = "read" }`},
		{"identities from servers of a datacenter", static + "consul {\n  datacenter = \"dc1\"\n}\nconnect {\n  source = \"servers\"\n}\n" + listener + "  tls {\n    connect = \"web\"\n  }\n}\n",
			`service "web" { policy = "write" }`},
		{"names bound elsewhere", "interpreter \"namerd\" {}\n" + listener + "}\n", ""},
		{"namerd", "store \"consul\" {}\n", `key_prefix "namerd/dtabs/" { policy = "write" }`},
		{"namerd that only reads", "store \"consul\" {}\nhttp {\n  read_only = true\n}\nnamer \"io.l5d.consul\" {}\n", strings.TrimSpace(found) + ` key_prefix "namerd/dtabs/" { policy = "read" }`},
		{"namerd without Consul", "store \"memory\" {}\n", ""},
		{"scheduler", "discovery {\n  services = [\"proxy\"]\n}\nnomad {}\n", `service "proxy" { policy = "read" } node_prefix "" { policy = "read" }`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rulesFor(t, c.text); got != strings.TrimSpace(c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// What another Consul is asked for is no part of the policy, which can be given to Consul as it is.
func TestPolicyForSeveralConsuls(t *testing.T) {
	file := inFile(t, "dtab {\n  consul {}\n}\nnamer \"io.l5d.consul\" {\n  consul {\n    address = \"10.0.0.1:8500\"\n  }\n}\nlistener \"in\" {\n  address = \"127.0.0.1:0\"\n  destination = \"/svc/a\"\n}\n")
	_, out, _ := call(t, "", "validate", "-acl", file)
	want := `# dtab: the table
key "namerd/dtabs/default" {
  policy = "read"
}

# namer /#/io.l5d.consul asks a Consul of its own. Its token there needs:
#
#   # namer /#/io.l5d.consul finds the instances of services
#   service_prefix "" {
#     policy = "read"
#   }
#
#   # namer /#/io.l5d.consul finds the nodes of instances
#   node_prefix "" {
#     policy = "read"
#   }
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	_, out, _ = call(t, "", "validate", "-acl", "-json", file)
	var got struct {
		Valid bool
		ACL   struct {
			Policy string
			Rules  []map[string]string
			Other  []struct {
				Who   string
				Rules []map[string]string
			} `json:"other_consuls"`
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || !got.Valid || got.ACL.Policy != want || len(got.ACL.Rules) != 1 ||
		got.ACL.Rules[0]["resource"] != "key" || got.ACL.Rules[0]["policy"] != "read" || len(got.ACL.Other) != 1 || len(got.ACL.Other[0].Rules) != 2 {
		t.Errorf("%v: %s", err, out)
	}
}
