package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"argosy/bench/conform/suite"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string // in one of the outputs
	}{
		{"-h", 0, "conform -target 127.0.0.1:7474"},
		{"-list", 0, "half-close-client"},
		{"-list -only bulk", 0, "byte for byte"},
		{"-only nothing", 2, `no case "nothing"`},
		{"", 2, "-target and -backend are needed"},
		{"-target 127.0.0.1:1", 2, "-target and -backend are needed"},
		{"-all -target 127.0.0.1:1", 2, "leave -target"},
		{"-all -proxies squid", 1, `no proxy "squid", only argosy`},
		{"-target 127.0.0.1:1 -backend 127.0.0.1:2 -doc x", 2, "need -all"},
		{"-target 127.0.0.1:1 -backend 127.0.0.1:2 -target-tls", 2, "needs -certs or -ca"},
		{"-target 127.0.0.1:1 -backend 127.0.0.1:2 -backend-tls", 2, "needs -certs"},
		{"-target 127.0.0.1:1 -backend 127.0.0.1:2 -client-cert x", 2, "need each other"},
		{"-target 127.0.0.1:1 -backend 127.0.0.1:2 -pid 1,x", 2, `"x" is no process id`},
		{"-target 127.0.0.1:1 -backend 127.0.0.1:2 -bulk 0", 2, "-bulk is at least 1"},
		{"-target 127.0.0.1:1 -backend 127.0.0.1:2 -patience 0s", 2, "-patience is at least"},
		{"-target 127.0.0.1:1 -backend 127.0.0.1:2 more", 2, `unexpected argument "more"`},
		{"-target here -backend 127.0.0.1:2", 1, "neither host:port nor unix:PATH"},
	} {
		var out strings.Builder
		if code := run(t.Context(), strings.Fields(c.args), &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: code %d:\n%s", c.args, code, out.String())
		}
	}
}

// startProxy starts a proxy that copies, and at the end of either direction ends both if it is hasty.
func startProxy(t *testing.T, hasty bool) (target, backend string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	backend = free.Addr().String()
	free.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp", backend)
				if err != nil {
					return
				}
				defer server.Close()
				var both sync.WaitGroup
				for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
					both.Go(func() {
						io.Copy(way[1], way[0])
						way[1].(*net.TCPConn).CloseWrite()
						if hasty {
							client.Close()
							server.Close()
						}
					})
				}
				both.Wait()
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String(), backend
}

func TestOneProxy(t *testing.T) {
	for _, hasty := range []bool{false, true} {
		target, backend := startProxy(t, hasty)
		var out, progress strings.Builder
		code := run(t.Context(), []string{"-target", target, "-backend", backend, "-only", "server-first,half-close-client",
			"-patience", "10ms", "-json"}, &out, &progress)
		var columns []column
		if err := json.Unmarshal([]byte(out.String()), &columns); err != nil {
			t.Fatalf("%v:\n%s", err, out.String())
		}
		want, wantCode := suite.Pass, 0
		if hasty {
			want, wantCode = suite.Fail, 1
		}
		if r := columns[0].Results; code != wantCode || len(r) != 2 || r[1].Case != "half-close-client" || r[1].Status != want {
			t.Errorf("code %d: %+v", code, r)
		}
		if !strings.Contains(progress.String(), "half-close-client") {
			t.Errorf("the progress is %q", progress.String())
		}
	}
}

func TestCertificatesAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	o := options{certs: dir, targetTLS: true, backendTLS: true, name: "target.test"}
	var made *certificatesMade
	if err := o.secure(); !errors.As(err, &made) {
		t.Fatal(err)
	}
	key, err := os.ReadFile(dir + "/target-key.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.secure(); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(dir + "/target-key.pem"); string(again) != string(key) {
		t.Error("the certificates were made again")
	}
	if o.config.TargetTLS == nil || len(o.config.BackendTLS.Certificates) != 1 {
		t.Errorf("%+v", o.config)
	}
}

func TestPage(t *testing.T) {
	results := func(statuses ...suite.Result) []suite.Result {
		for i, name := range []string{"exchange", "bulk", "tls-cut-client"} {
			statuses[i].Case, statuses[i].Title = name, "holds"
		}
		return statuses
	}
	none := suite.Result{Status: suite.None, Note: "no TLS"}
	columns := []column{
		{Proxy: "argosy", Variant: "plain", Results: results(suite.Result{Status: suite.Pass}, suite.Result{Status: suite.Fail, Note: "lost a byte"}, none)},
		{Proxy: "haproxy", Variant: "plain", Version: "HAProxy 0", Results: results(suite.Result{Status: suite.Pass, Note: "slowly"}, suite.Result{Status: suite.Fail, Note: "lost a byte"}, none)},
	}
	path := filepath.Join(t.TempDir(), "page.md")
	if err := writePage(path, columns, suite.Config{Bulk: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `- haproxy: HAProxy 0

## Plain

| case | what must hold | argosy | haproxy |
|---|---|---|---|
| ` + "`exchange`" + ` | holds | pass | pass (1) |
| ` + "`bulk`" + ` | holds | **fail** (2) | **fail** (2) |

1. Slowly.
2. Lost a byte.
`
	if !strings.HasSuffix(string(text), want) {
		t.Errorf("got\n%s\nwant at the end\n%s", text, want)
	}
	if n := failures(columns, true); n != 1 {
		t.Errorf("argosy failed %d cases", n)
	}
	if n := failures(columns, false); n != 2 {
		t.Errorf("all failed %d cases", n)
	}
}
