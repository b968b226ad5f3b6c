package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A namerd with namers tells what names stand for, and with on_empty = "stop" binds as Namerd does.
func TestNamerdBindsNames(t *testing.T) {
	for _, c := range []struct{ binding, want string }{
		{``, `{"type":"leaf","bound":{"addr":{"type":"bound","addrs":[{"ip":"127.0.0.1","port":2,"meta":{"endpoint_addr_weight":2.0}}],"meta":{}},"id":"/#/static/web","path":"/"}}` + "\n"},
		{`binding { on_empty = "stop" }`, `{"type":"leaf","bound":{"addr":{"type":"bound","addrs":[],"meta":{}},"id":"/#/io.l5d.fs/web","path":"/"}}` + "\n"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "web"), "")
		config := filepath.Join(t.TempDir(), "namerd.hcl")
		write(t, config, `
http { address = "127.0.0.1:0" }
store "memory" { namespaces = { default = "/svc => /#/io.l5d.fs | /#/static" } }
namer "io.l5d.fs" { root_dir = "`+dir+`" }
namer "static" { services = { web = ["127.0.0.1:2 * 2"] } }
`+c.binding)
		var log syncBuffer
		ended := make(chan int, 1)
		go func() { ended <- run([]string{"namerd", "-config", config}, strings.NewReader(""), &log, &log) }()
		port := logged(t, &log, `serving dtabs: address=\S*:(\d+)`)[1]
		for target, want := range map[string]string{
			"bind/default?path=/svc/web": c.want,
			"bound-names":                `["/#/io.l5d.fs/web","/#/static/web"]` + "\n",
		} {
			r, err := http.Get("http://127.0.0.1:" + port + "/api/1/" + target)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if string(body) != want {
				t.Errorf("%s with %q:\n got %s\nwant %s", target, c.binding, body, want)
			}
		}
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		if code := <-ended; code != exitOK {
			t.Errorf("exit %d\n%s", code, log.String())
		}
	}
}
