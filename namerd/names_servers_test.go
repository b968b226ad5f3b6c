//go:build servers

package namerd_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consultest"
	"argosy/namer"
	"argosy/namer/consul"
	"argosy/namerd"
	kv "argosy/namerd/store/consul"
)

// TestRealConsul follows a name through streams while its table, in Consul's KV store, and its instances, in Consul's
// catalog, change; and while Consul is gone.
func TestRealConsul(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Keep: true})
	register := func(id, service string, port int) {
		c.Register(t, &api.AgentServiceRegistration{ID: id, Name: service, Port: port, Address: "127.0.0.1"})
	}
	put := func(table string) {
		if _, err := c.Client.KV().Put(&api.KVPair{Key: "namerd/dtabs/default", Value: []byte(table)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	tables := kv.New(c.Client, "namerd/dtabs", hclog.NewNullLogger())
	catalog := consul.New(c.Client, consul.Options{UseHealth: true, PreferService: true}, hclog.NewNullLogger(), nil)
	n := naming(t, tables, namer.Options{EmptyFallsThrough: true, Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/io.l5d.consul"), Namer: catalog}}})
	address := serve(t, tables, namerd.Options{Names: n})

	bind := open(t, address, "/api/1/bind/default?path=/svc/web&watch=true")
	addr := open(t, address, "/api/1/addr/default?watch=true&path="+url.QueryEscape("/#/io.l5d.consul/.local/web"))
	resolve := open(t, address, "/api/1/resolve/default?path=/svc/web&watch=true")
	all := []*stream{bind, addr, resolve}
	ports := func(s *stream, want ...int) {
		t.Helper()
		var text []string
		for _, p := range want {
			text = append(text, fmt.Sprint(p))
		}
		s.nextMatching(`"addrs":\[` + strings.Join(regexpPorts(text), ",") + `\]`)
	}
	for _, s := range all {
		s.next(neg)
	}
	register("a", "web", 81)
	ports(addr, 81)
	put("/svc => /#/io.l5d.consul/.local")
	ports(bind, 81)
	ports(resolve, 81)
	begun := time.Now()
	register("b", "web", 82)
	ports(addr, 81, 82)
	ports(resolve, 81, 82)
	t.Logf("from a registration to the streams: %v", time.Since(begun))
	begun = time.Now()
	register("c", "blue", 90)
	put("/svc => /#/io.l5d.consul/.local ; /svc/web => /#/io.l5d.consul/.local/blue")
	ports(bind, 90)
	ports(resolve, 90)
	t.Logf("from a new table to the streams: %v", time.Since(begun))
	put("/svc => /#/io.l5d.consul/.local ; /svc/web => nonsense")
	for _, s := range all {
		s.silent()
	}
	c.Kill()
	time.Sleep(2 * time.Second) // long enough for requests to fail
	for _, s := range all {
		s.silent()
	}
	if r, err := http.Get("http://" + address + "/api/1/resolve/default?path=/svc/web"); err != nil || r.StatusCode != 200 {
		t.Errorf("a poll while Consul is gone: %v %v", r, err)
	} else {
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if !strings.Contains(string(body), `"port":90`) {
			t.Errorf("a poll while Consul is gone: %s", body)
		}
	}
	c.MustRestart(t)
	put("/svc => /#/io.l5d.consul/.local")
	ports(bind, 81, 82)
	ports(resolve, 81, 82)
	register("d", "web", 83)
	ports(addr, 81, 82, 83)
	ports(resolve, 81, 82, 83)
}

func regexpPorts(ports []string) []string {
	for i, p := range ports {
		ports[i] = `{"ip":"127.0.0.1","port":` + p + `,"meta":{[^}]*}}`
	}
	return ports
}

// nextMatching waits for a line that matches; those before it are states on the way.
func (s *stream) nextMatching(pattern string) {
	s.t.Helper()
	find := regexp.MustCompile(pattern)
	timeout := time.After(30 * time.Second)
	var passed []string
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				s.t.Fatalf("the stream has ended; it had %q", passed)
			}
			if find.MatchString(line) {
				return
			}
			passed = append(passed, line)
		case <-timeout:
			s.t.Fatalf("no %s, but %q", pattern, passed)
		}
	}
}
