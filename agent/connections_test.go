package agent

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/agent/config"
)

// request sends a request to an admin path and returns its answer.
func (p *proxy) request(method, path string, header ...string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.agent.AdminAddress()+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// listed asks for connections and returns the ports of their clients.
func (p *proxy) listed(query string) []string {
	p.t.Helper()
	code, body := p.request("GET", "/v1/connections"+query)
	if code != http.StatusOK {
		p.t.Fatalf("%s: %d %s", query, code, body)
	}
	ports := []string{}
	for _, c := range decode[[]ConnectionInfo](p.t, body) {
		_, port, _ := net.SplitHostPort(c.Client)
		ports = append(ports, port)
	}
	return ports
}

// threeConnections are two to a and one to b, the oldest first.
func threeConnections(t *testing.T) (p *proxy, all []net.Conn, ports []string, a, b *backend) {
	a, b = startBackend(t, "a"), startBackend(t, "b")
	cfg := baseConfig(map[string][]string{"a": {a.addr}, "b": {b.addr}})
	cfg.Listeners = []config.Listener{listenerTo("a", "/svc/a"), listenerTo("b", "/svc/b")}
	p = startAgent(t, cfg)
	for _, listener := range []string{"a", "b", "a"} {
		c, _ := p.dial(listener)
		_, port, _ := net.SplitHostPort(c.LocalAddr().String())
		all, ports = append(all, c), append(ports, port)
	}
	return p, all, ports, a, b
}

func TestConnectionFilters(t *testing.T) {
	p, all, ports, a, _ := threeConnections(t)
	for _, c := range []struct {
		query string
		want  []int
	}{
		{"", []int{0, 1, 2}},
		{"?listener=a", []int{0, 2}},
		{"?listener=a&limit=1", []int{0}},
		{"?listener=c", nil},
		{"?name=/svc/b", []int{1}},
		{"?name=/svc", []int{0, 1, 2}},
		{"?name=/sv", nil},
		{"?cluster=/%23/static/a", []int{0, 2}},
		{"?endpoint=" + a.addr, []int{0, 2}},
		{"?client=127.0.0.1", []int{0, 1, 2}},
		{"?client=::ffff:127.0.0.1", []int{0, 1, 2}},
		{"?client=127.0.0.0/8", []int{0, 1, 2}},
		{"?client=10.0.0.0/8", nil},
		{"?client=unix", nil},
		{"?peer=nobody", nil},
		{"?phase=open", []int{0, 1, 2}},
		{"?phase=connecting", nil},
		{"?min_age=1h", nil},
		{"?min_age=1ns", []int{0, 1, 2}},
		{"?quiet=1h", nil},
		{"?limit=2", []int{0, 1}},
	} {
		want := []string{}
		for _, i := range c.want {
			want = append(want, ports[i])
		}
		if got := p.listed(c.query); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", c.query, got, want)
		}
	}
	for i, c := range all { // two of them are not quiet
		if i != 1 {
			defer keepBusy(t, c)()
		}
	}
	eventually(t, "one is quiet", func() bool { return slices.Equal(p.listed("?quiet=2s"), ports[1:2]) })

	for query, want := range map[string]string{
		"?listner=a":             "listner: there is no such filter: there are listener, name, ",
		"?listener=a&listener=b": "listener: is given twice",
		"?listener=":             "listener: is empty",
		"?client=10.0.0.0/33":    `client: "10.0.0.0/33" is no network such as 10.0.0.0/8`,
		"?client=localhost":      `client: "localhost" is no IP address`,
		"?phase=done":            `phase: "done" is none: there are routing, connecting and open`,
		"?min_age=5":             `min_age: "5" is no time such as 90s or 5m`,
		"?quiet=-1s":             "quiet: ",
		"?limit=0":               `limit: "0" is no number of connections`,
		"?name=svc":              "name: ",
		"?rate=1":                "rate: there is no such filter",
	} {
		code, body := p.request("GET", "/v1/connections"+query)
		if code != http.StatusBadRequest || !strings.HasPrefix(decode[map[string]string](t, body)["error"], want) {
			t.Errorf("%s: %d %s", query, code, body)
		}
	}
}

// keepBusy moves bytes until the returned function is called.
func keepBusy(t *testing.T, c net.Conn) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := io.WriteString(c, "x"); err != nil {
					t.Error(err)
					return
				}
				io.ReadFull(c, make([]byte, 1))
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

func TestOneConnection(t *testing.T) {
	p, all, _, _, _ := threeConnections(t)
	_, body := p.request("GET", "/v1/connections?name=/svc/b")
	i := decode[[]ConnectionInfo](t, body)[0]
	path := fmt.Sprintf("/v1/connections/%d", i.ID)
	code, body := p.request("GET", path)
	if one := decode[ConnectionInfo](t, body); code != http.StatusOK || one.ID != i.ID || one.Client != i.Client || one.Age <= 0 || one.Quiet == nil {
		t.Errorf("%d %s", code, body)
	}
	// A web page must not be able to close connections.
	if code, _ := p.request("DELETE", path, "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
		t.Errorf("from a web page: %d", code)
	}
	if code, body := p.request("DELETE", path); code != http.StatusOK || decode[closedInfo](t, body).Closed != 1 {
		t.Errorf("%d %s", code, body)
	}
	if _, err := all[1].Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	p.expectClosed("b", "closed", 1)
	eventually(t, "gone", func() bool { code, _ := p.request("GET", path); return code == http.StatusNotFound })
	echo(t, all[0], "others go on")
	for path, want := range map[string]int{
		path: http.StatusNotFound, "/v1/connections/x": http.StatusBadRequest, "/v1/connections/-1": http.StatusBadRequest,
		"/v1/connections/999": http.StatusNotFound,
	} {
		if code, body := p.request("DELETE", path); code != want || decode[map[string]string](t, body)["error"] == "" {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestCloseMany(t *testing.T) {
	p, all, ports, _, _ := threeConnections(t)
	for _, query := range []string{"", "?limit=5", "?rate=10", "?listener=a&rate=0", "?listener=a&rate=x", "?listener=a&rate=NaN", "?listner=a"} {
		if code, body := p.request("DELETE", "/v1/connections"+query); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, code, body)
		}
	}
	if got := p.listed(""); !slices.Equal(got, ports) {
		t.Errorf("left are %v", got)
	}
	began := time.Now()
	code, body := p.request("DELETE", "/v1/connections?listener=a&rate=5")
	if code != http.StatusOK || decode[closedInfo](t, body).Closed != 2 {
		t.Errorf("%d %s", code, body)
	}
	if took := time.Since(began); took < 190*time.Millisecond {
		t.Errorf("two of five a second took %v", took)
	}
	p.expectClosed("a", "closed", 2)
	echo(t, all[1], "goes on")
	if _, body := p.request("DELETE", "/v1/connections?"+url.Values{"client": {"127.0.0.1"}}.Encode()); decode[closedInfo](t, body).Closed != 1 {
		t.Error(body)
	}
	p.expectClosed("b", "closed", 1)
	if code, body := p.request("GET", "/v1/connections"); code != http.StatusOK || body != "[]\n" {
		t.Errorf("%d %q", code, body)
	}
}

// Also a connection that has no endpoint yet can be closed.
func TestCloseWaiting(t *testing.T) {
	cfg := baseConfig(map[string][]string{"a": {downAddress(t)}})
	sni := listenerTo("sni", "/svc/a")
	sni.Destination, sni.SNI = nil, &config.SNI{Timeout: time.Minute}
	sni.ConnectTimeout = time.Minute
	cfg.Listeners = []config.Listener{sni}
	p := startAgent(t, cfg)
	c, err := net.Dial("tcp", p.address("sni"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "the connection waits", func() bool { return len(p.listed("?phase=routing")) == 1 })
	if _, body := p.request("DELETE", "/v1/connections?listener=sni"); decode[closedInfo](t, body).Closed != 1 {
		t.Error(body)
	}
	p.expectClosed("sni", "closed", 1)
}
