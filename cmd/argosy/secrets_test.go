package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mark is in every secret of these tests.
const mark = "MARKED-0123456789"

// Whatever is wrong with a line that has a secret in it, or beside it, the complaint does not show the secret.
func TestComplaintsShowNoSecret(t *testing.T) {
	token := writeFile(t, "token", mark+"\n"+mark+" "+mark+"\n")
	const rest = "dtab { static = \"\" }\nlistener \"a\" {\n  address = \"127.0.0.1:0\"\n  destination = \"/svc/a\"\n}\n"
	for _, text := range []string{
		"consul { token = \"" + mark + " }\n",
		"consul { token = \"" + mark + "\" \"x\" }\n",
		"consul { token = [\"" + mark + "\"] }\n",
		"consul { token = { a = \"" + mark + "\" } }\n",
		"consul { token = " + mark + " }\n",
		"consul { token : \"" + mark + "\" }\n",
		"consul { tokenn = \"" + mark + "\" }\n",
		"consul { acl-token = \"" + mark + "\" }\n",
		"consul { \"token\" = \"" + mark + "\" }\n",
		"consul { token = upper(\"" + mark + "\") }\n",
		"consul { token = env(\"NOPE_X\", \"" + mark + "\", \"x\") }\n",
		"consul { token = format(\"" + mark + "%d\", \"x\") }\n",
		"consul { token = \"" + mark + "${nope}\" }\n",
		"consul {\n  token = <<EOT\n" + mark + " ${nope}\nEOT\n}\n",
		"consul {\n  token = <<EOT\n" + mark + " ${nope\nEOT\n}\n",
		"consul {\n  token = <<EOT\n" + mark + "\n",
		"consul {\n  token = (\n    \"" + mark + "\" + nope\n  )\n}\n",
		"consul { token_file = \"" + mark + "\" }\n",
		"consul {\n  token = \"" + mark + "\"\n  token_file = \"" + mark + "\"\n}\n",
		"consul {\n  token = \"" + mark + "\"\n  token = \"" + mark + "\"\n}\n",
		"consul { password = \"" + mark + "\" }\n",
		"consul { address = \"http://me:" + mark + "@127.0.0.1:8500\" }\n",
		"consul { addres = \"http://me:" + mark + "@127.0.0.1:8500\" }\n",
		"consul { addres = \"me:" + mark + "@127.0.0.1:8500\" }\n",
		"interpreter \"namerd\" { address = \"http://me:" + mark + "@127.0.0.1\" }\n",
		"interpreter \"namerd\" { address = \"http://127.0.0.1/?token=" + mark + "\" }\n",
		"interpreter \"namerd\" { address = \"me:" + mark + "@127.0.0.1\" }\n",
		"admin { token_file = \"" + mark + "\" }\n",
		"admin { token_file = \"" + token + "\" }\n",
		"admin { address = \"me:" + mark + "@127.0.0.1:1\" }\n",
		"admin { token = \"" + mark + "\" }\n",
		"namer \"io.l5d.nomad\" { token = [\"" + mark + "\"] }\n",
		"http {\n  token \"ci\" { secret = \"" + mark + " " + mark + "\" }\n}\nstore \"memory\" {}\n",
		"http {\n  token \"ci\" { secrett = \"" + mark + "\" }\n}\nstore \"memory\" {}\n",
		"http { token \"ci\" { file = \"" + token + "\" } }\nstore \"memory\" {}\n",
	} {
		file := writeFile(t, "x.hcl", text+rest)
		for _, kind := range []string{"agent", "namerd", "scheduler"} {
			for _, args := range [][]string{{"validate", "-kind", kind, file}, {"validate", "-json", "-kind", kind, file}} {
				code, out, errs := call(t, "", args...)
				if code == exitOK {
					t.Errorf("%q is valid for %s", text, kind)
				}
				if strings.Contains(out+errs, mark) {
					t.Errorf("%q is shown:\n%s%s", text, out, errs)
				}
			}
		}
	}
}

// An agent, a scheduler and a namerd whose configurations are full of secrets, in trouble, with all that they log at the lowest
// level, and all that they answer: the secrets are nowhere.
func TestSecretsAreNowhere(t *testing.T) {
	dir := t.TempDir()
	server := issued(t, devcaOf(t), "argosy")
	keyText, err := os.ReadFile(server.Key)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Split(string(keyText), "\n")[1]
	file := func(name string) string {
		path := filepath.Join(dir, name)
		write(t, path, mark+name+"\n")
		return path
	}
	closed := closedAddress(t)
	t.Setenv("CONSUL_HTTP_AUTH", "me:"+mark)
	t.Setenv("CONSUL_HTTP_TOKEN", mark)
	door := fmt.Sprintf(`
  address    = "127.0.0.1:0"
  token_file = %q
  open       = ["/health"]
  tls {
    cert_file      = %q
    key_file       = %q
    client_ca_file = %q
    client_auth    = "optional"
  }
`, file("door"), server.Cert, server.Key, server.CA)
	consul := fmt.Sprintf("consul {\n  address = \"http://%s\"\n  token = %q\n}\n", closed, mark)
	log := "log { level = \"trace\" }\n"
	configs := map[string]string{
		"agent": log + "admin {" + door + "}\n" + consul + fmt.Sprintf(`
dtab {
  namerd {
    address    = "http://%s"
    token_file = %q
  }
}
namer "io.l5d.consul" {
  consul {
    address = "http://%s"
    token   = %q
  }
}
namer "nomad" {
  nomad {
    address    = "http://%s"
    token_file = %q
  }
}
listener "in" {
  address     = "127.0.0.1:0"
  destination = "/#/io.l5d.consul/dc1/web"
  register {}
}
listener "secured" {
  address     = "127.0.0.1:0"
  destination = "/svc/x"
  tls { connect = "edge" }
}
`, closed, file("namerd"), closed, mark, closed, file("nomad")),
		"scheduler": log + "http {" + door + "}\n" + consul + fmt.Sprintf(`
discovery { services = ["proxy"] }
nomad {
  address = "http://%s"
  token   = %q
}
prometheus {
  address    = "http://%s"
  token_file = %q
}
policy "p" {
  target "nomad" { job = "proxy" }
  query        = "sum(x)"
  target_value = 1
  max          = 2
}
`, closed, mark, closed, file("prometheus")),
		"namerd": log + "http {" + door + fmt.Sprintf("  token \"ci\" {\n    secret = %q\n  }\n", mark+"ci") + "}\n" + consul + "store \"consul\" {}\nnamer \"io.l5d.consul\" {}\n",
	}
	all := newServers(t)
	for _, k := range doorKinds("") {
		config := writeFile(t, k.command+".hcl", configs[k.command])
		code, out, errs := call(t, "", "validate", config)
		if code != exitOK {
			t.Fatalf("%s: %s", k.command, errs)
		}
		log := all.start(k.command, config)
		base := "https://" + logged(t, log, k.address)[1]
		seen := out + errs
		h := httpsClient(t, server.CA, nil)
		for _, token := range []string{"", mark + "wrong", mark + "door"} {
			for _, path := range append(k.reads, "/health", "/metrics") {
				status, body := request(t, h, "GET", base+path, token)
				if status == 0 {
					t.Errorf("%s %s: no answer: %s", k.command, path, body)
				}
				if path == "/v1/config" && token == mark+"door" && (status != 200 || !strings.Contains(body, `"(secret)"`) && k.command == "agent") {
					t.Errorf("%s %s: %d %s", k.command, path, status, body)
				}
				seen += body
			}
		}
		request(t, h, "POST", base+"/v1/plan", mark+"door")
		if k.command == "agent" {
			t.Setenv("ARGOSY_ADMIN_TOKEN_FILE", filepath.Join(dir, "door"))
			t.Setenv("ARGOSY_ADMIN_CACERT", server.CA)
			for _, args := range []string{"routes|-settings", "routes|-json", "connections", "dtab|explain|/svc/x", "dtab|plan|-dtab|/a => /b"} {
				flag := "-agent"
				args := append(strings.Split(args, "|"), flag, base)
				_, out, errs := call(t, "", args...)
				seen += out + errs
			}
		}
		write(t, config, configs[k.command]+"consul { token = \""+mark+" }\n")
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), "[ERROR]"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the reload is not refused\n%s", k.command, log.String())
			}
		}
		seen += log.String()
		if len(seen) < 1000 || !strings.Contains(seen, closed) {
			t.Errorf("%s: nothing has been seen:\n%s", k.command, seen)
		}
		for _, secret := range []string{mark, key} {
			if i := strings.Index(seen, secret); i >= 0 {
				t.Errorf("%s: a secret is shown: %s", k.command, seen[max(0, i-300):min(len(seen), i+100)])
			}
		}
	}
}
