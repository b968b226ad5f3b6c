package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"argosy/internal/devca"
)

// call runs the program in this process.
func call(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(args, strings.NewReader(in), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// Every example is a valid configuration, of the kind its name says: on a bare machine where it needs nothing from it,
// and inside of Nomad.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../hcl/*.hcl")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	secrets := t.TempDir()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"edge", "default", "db"} {
		if _, err := ca.Write(secrets, name, "www.example.com"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"clients-ca.pem", "internal-ca.pem"} {
		if err := os.WriteFile(filepath.Join(secrets, name), ca.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	validate := func(t *testing.T, file string) {
		kind, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".hcl"), "-")
		code, out, errs := call(t, "", "validate", file)
		if code != exitOK || !strings.HasPrefix(out, "valid "+kind+" configuration") {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if text, err := os.ReadFile(file); err != nil {
				t.Fatal(err)
			} else if !bytes.HasPrefix(text, []byte("# ")) {
				t.Error("does not start with a comment that says what it is")
			}
			if !strings.Contains(file, "edge") && !strings.Contains(file, "tls") { // want their certificates
				validate(t, file)
			}
			t.Setenv("NOMAD_SECRETS_DIR", secrets)
			t.Setenv("NOMAD_ALLOC_ID", "3c3b3c36-1f64-4a3e-8d55-0a3a1f6f3a10")
			for i, label := range []string{"redis", "admin", "tls", "http"} {
				t.Setenv("NOMAD_IP_"+label, "10.0.0.1")
				t.Setenv("NOMAD_PORT_"+label, fmt.Sprint(20000+i))
				t.Setenv("NOMAD_ADDR_"+label, fmt.Sprintf("10.0.0.1:%d", 20000+i))
			}
			t.Setenv("CONSUL_HTTP_ADDR", "unix:///run/consul.sock")
			t.Setenv("NOMAD_ADDR", "http://10.0.0.1:4646")
			validate(t, file)
		})
	}
}

// What the pages have one write into a file is valid.
func TestConfigurationsOfPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatal(pages, err)
	}
	written := regexp.MustCompile(`(?ms)^ *cat > (\S+\.hcl) <<'END'\n(.*?)^ *END$`)
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range written.FindAllSubmatch(text, -1) {
			found++
			file := writeFile(t, string(m[1]), string(m[2]))
			if code, out, errs := call(t, "", "validate", file); code != exitOK {
				t.Errorf("%s: %s: exit %d\n%s%s", page, m[1], code, out, errs)
			}
		}
	}
	if found < 2 {
		t.Errorf("only %d found", found)
	}
}
