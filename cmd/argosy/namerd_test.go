package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy/internal/devca"
)

// logged waits until the log has something that matches.
func logged(t *testing.T, log *syncBuffer, pattern string) []string {
	t.Helper()
	find := regexp.MustCompile(pattern)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m := find.FindStringSubmatch(log.String()); m != nil {
			return m
		}
	}
	t.Fatalf("no %s in\n%s", pattern, log.String())
	return nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A namerd with files, TLS and tokens: the commands get in with what they are given, tokens change with SIGHUP, and a
// second namerd does not get the folder.
func TestNamerdIsSecure(t *testing.T) {
	dir := t.TempDir()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Write(t.TempDir(), "namerd", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Write(t.TempDir(), "ann", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	config, token, tables := filepath.Join(dir, "namerd.hcl"), filepath.Join(dir, "token"), filepath.Join(dir, "tables")
	write(t, token, "first\n")
	write(t, config, `
http {
  address = "0.0.0.0:0"
  tls {
    cert_file      = "`+server.Cert+`"
    key_file       = "`+server.Key+`"
    client_ca_file = "`+server.CA+`"
    client_auth    = "optional"
  }
  token "ci" { file = "`+token+`" }
}
store "files" { dir = "`+tables+`" }
`)
	var log syncBuffer
	ended := make(chan int, 1)
	go func() { ended <- run([]string{"namerd", "-config", config}, strings.NewReader(""), &log, &log) }()
	port := logged(t, &log, `serving dtabs: address=\S*:(\d+)`)[1]
	defer func() {
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		if code := <-ended; code != exitOK {
			t.Errorf("exit %d\n%s", code, log.String())
		}
	}()
	if strings.Contains(log.String(), "open to the network") {
		t.Errorf("it complains:\n%s", log.String())
	}
	for _, v := range []string{"TOKEN", "TOKEN_FILE", "CACERT", "CLIENT_CERT", "CLIENT_KEY"} {
		t.Setenv("ARGOSY_NAMERD_"+v, "")
	}
	t.Setenv("ARGOSY_NAMERD_ADDR", "https://127.0.0.1:"+port)
	const unknown = "argosy: list namespaces: namerd at NAMERD cannot be reached: x509: certificate signed by unknown authority; -ca-file names the authority that has signed it\n"
	const unauthorized = "argosy: list namespaces: namerd at NAMERD answers 401 Unauthorized: this namerd wants a token or a certificate that it knows; -token-file, or -cert-file and -key-file\n"
	const mayRead = "argosy: create default: store is read-only: token \"ci\" may only read\n"
	step{args: "dtab|list", code: 1, errs: unknown}.check(t)
	step{args: "dtab|list|-ca-file|" + server.CA, code: 1, errs: unauthorized}.check(t)
	t.Setenv("ARGOSY_NAMERD_CACERT", server.CA)
	t.Setenv("ARGOSY_NAMERD_TOKEN_FILE", token)
	step{args: "dtab|list"}.check(t)
	step{args: "dtab|create|default|-dtab|/a => /b", code: 1, errs: mayRead}.check(t)
	t.Setenv("ARGOSY_NAMERD_TOKEN_FILE", "")
	step{args: "dtab|create|default|-dtab|/a => /b|-cert-file|" + client.Cert + "|-key-file|" + client.Key, out: "Created default\n"}.check(t)
	if text, err := os.ReadFile(filepath.Join(tables, "default.dtab")); err != nil || string(text) != "/a => /b ;\n" {
		t.Errorf("%q %v", text, err)
	}
	write(t, token, "second")
	syscall.Kill(os.Getpid(), syscall.SIGHUP)
	logged(t, &log, "reloaded")
	t.Setenv("ARGOSY_NAMERD_TOKEN", "first")
	step{args: "dtab|list", code: 1, errs: unauthorized}.check(t)
	t.Setenv("ARGOSY_NAMERD_TOKEN", "second")
	step{args: "dtab|list", out: "default\n"}.check(t)

	code, _, errs := call(t, "", "namerd", "-config", config)
	if code != exitFailed || !strings.Contains(errs, "another namerd has the folder "+tables) {
		t.Errorf("exit %d %q", code, errs)
	}
}

func TestNamerdWarnsWhenOpen(t *testing.T) {
	config := filepath.Join(t.TempDir(), "namerd.hcl")
	write(t, config, "http {\n  address = \":0\"\n  insecure = true\n}\nstore \"memory\" {}\n")
	var log syncBuffer
	ended := make(chan int, 1)
	go func() { ended <- run([]string{"namerd", "-config", config}, strings.NewReader(""), &log, &log) }()
	logged(t, &log, `serving dtabs`)
	logged(t, &log, `WARN.*open to the network without TLS and authentication`)
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	<-ended
}
