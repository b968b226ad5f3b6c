//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// established is how many connections are open while Consul has a bad day.
const established = 300

// longLived are connections that are open all the time, and exchange a line about once a second.
type longLived struct {
	stop  func()
	wg    sync.WaitGroup
	lines atomic.Int64
	mu    sync.Mutex
	lost  []string
}

func startHeld(t *testing.T, addr string, n int) *longLived {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := &longLived{stop: cancel}
	t.Cleanup(func() { cancel(); h.wg.Wait() })
	for i := range n {
		c, err := dialNamed(t.Context(), addr)
		if err != nil {
			t.Fatalf("connection %d of %d: %v", i, n, err)
		}
		h.wg.Go(func() {
			defer c.Close()
			for line := 0; ; line++ {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Duration(500+rand.IntN(1000)) * time.Millisecond):
				}
				if err := c.echo(fmt.Sprintf("%d, line %d", i, line)); err != nil {
					h.mu.Lock()
					h.lost = append(h.lost, fmt.Sprintf("connection %d at line %d: %v", i, line, err))
					h.mu.Unlock()
					return
				}
				h.lines.Add(1)
			}
		})
	}
	return h
}

// check fails the test if a connection was lost since it was last called, and returns how many were.
func (h *longLived) check(t *testing.T, when string) int {
	t.Helper()
	h.mu.Lock()
	lost := h.lost
	h.lost = nil
	h.mu.Unlock()
	if len(lost) > 0 {
		t.Errorf("%s: %d established connections were lost, such as\n%s", when, len(lost), strings.Join(lost[:min(len(lost), 5)], "\n"))
	}
	return len(lost)
}

// canary tries to connect all the time as a service that is denied.
type canary struct {
	addr    string
	stop    func()
	wg      sync.WaitGroup
	allowed atomic.Bool // for a moment
	tried   atomic.Int64
	passed  atomic.Int64
}

func startCanary(t *testing.T, addr string) *canary {
	ctx, cancel := context.WithCancel(t.Context())
	c := &canary{addr: addr, stop: cancel}
	t.Cleanup(func() { cancel(); c.wg.Wait() })
	c.wg.Go(func() {
		for ctx.Err() == nil {
			before := c.allowed.Load()
			err := connectOnce(ctx, addr)
			if c.tried.Add(1); err == nil && !before && !c.allowed.Load() {
				c.passed.Add(1)
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return c
}

// startScan throws at a Connect listener what port scanners do. Nobody behind it may answer.
func startScan(t *testing.T, addr string) *atomic.Int64 {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	first := hello("scan.example")
	var n atomic.Int64
	wg.Go(func() {
		for ctx.Err() == nil {
			words := [][]byte{nil, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), first[:len(first)/2], []byte("\x16\x03\x01\xff\xff"), first}[n.Add(1)%5]
			d := net.Dialer{Timeout: 5 * time.Second}
			if c, err := d.DialContext(ctx, "tcp", addr); err == nil {
				c.Write(words)
				c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if b, _ := io.ReadAll(io.LimitReader(c, 64<<10)); strings.Contains(string(b), "web") {
					t.Errorf("a scanner that said %q was greeted with %q", words, b)
				}
				c.Close()
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return &n
}

// days are two agents under traffic: plain clients, an agent that dials Connect, one that accepts Connect, and two servers
// behind it. Names come from Consul's catalog and the table from its keys. Whatever an agent asks Consul goes over a wire of
// its own and then through a mischief.
type days struct {
	s           *stack.Stack
	dialsWires  []*wire // for HTTP, and for gRPC if there is one
	acceptsWire *wire
	m           *mischief
	dials       *agent
	accepts     *agent
	entry       string
	servers     map[string]*namedServer
	held        *longLived
	load        *steady
	canary      *canary
	scan        *atomic.Int64
	dialsHCL    string
	connectAddr string // where Connect is accepted
}

const daysTable = "/c => /#/io.l5d.consul/.local ; /svc => /c ; /svc/other => /c/proxy"

// daysHCL is the part that both agents have in common. The one with the token's file is left out where that is empty.
func daysHCL(name, consul, token, more string) string {
	if token != "" {
		token = fmt.Sprintf("  token_file = %q\n", token)
	}
	return fmt.Sprintf("name = %q\nconsul {\n  address = %q\n%s}\n%s", name, consul, token, more)
}

// dialsHCL is an agent that takes plain TCP on two ports, and connects to the service proxy as entry and as canary.
func dialsHCL(consul, token, entry, canary, snapshots string) string {
	dir := ""
	if snapshots != "" {
		dir = fmt.Sprintf("  snapshot_dir = %q\n", snapshots)
	}
	return daysHCL("entry", consul, token, fmt.Sprintf("dtab {\n%[1]s  consul {}\n}\nnamer \"io.l5d.consul\" {\n%[1]s  connect = true\n}\n", dir)+
		route("proxy", entry)+route("other", canary)+`
client "/svc/proxy" {
  tls {
    connect = "entry"
  }
}
client "/svc/other" {
  tls {
    connect = "canary"
  }
}
`)
}

// daysOptions say what the agents are like.
type daysOptions struct {
	fromServers bool   // the one that dials has its certificates from Consul's servers
	token       string // the file with the token of both
}

// startDays starts it. canary is denied, and entry is allowed.
func startDays(t *testing.T, s *stack.Stack, o daysOptions) *days {
	t.Helper()
	d := &days{s: s, servers: map[string]*namedServer{}}
	for _, name := range []string{"web1", "web2"} {
		d.servers[name] = startNamed(t, name)
	}
	d.enrol(t)
	d.m = startMischief(t, s.Consul.URL())
	d.dialsWires, d.acceptsWire = []*wire{startWire(t, s.Addr(), d.m.Addr)}, startWire(t, s.Addr(), d.m.Addr)
	entry, other := s.Addr(), s.Addr()
	d.entry, d.connectAddr = entry, s.Addr()
	d.accepts = startAgent(t, s, "accepts", daysHCL("proxy", d.acceptsWire.Addr, o.token, fmt.Sprintf(`
dtab {
  consul {}
}
namer "io.l5d.consul" {}
listener "in" {
  address     = %q
  destination = "/svc/web"
  tls {
    connect = "proxy"
    on_deny = "close"
  }
  register {}
}
register {
  check_interval = "1s"
}
`, d.connectAddr)))
	d.dialsHCL = dialsHCL(d.dialsWires[0].Addr, o.token, entry, other, "")
	if o.fromServers {
		grpc := startWire(t, s.Addr(), s.Consul.GRPCAddr)
		d.dialsWires = append(d.dialsWires, grpc)
		d.dialsHCL += fmt.Sprintf("connect {\n  source  = \"servers\"\n  address = %q\n}\n", grpc.Addr)
	}
	d.dials = startAgent(t, s, "dials", d.dialsHCL)
	within(t, "mTLS end to end", func(ctx context.Context) error { return connectOnce(ctx, entry) })
	within(t, "the canary is denied", func(ctx context.Context) error { return denied(ctx, other) })
	d.held = startHeld(t, entry, established)
	d.load = startSteady(t, d.known, entry)
	d.canary = startCanary(t, other)
	d.scan = startScan(t, d.connectAddr)
	return d
}

// wires become all the same.
func (d *days) wires(t *testing.T, state wireState) {
	t.Helper()
	for _, w := range append(d.dialsWires, d.acceptsWire) {
		w.become(t, state)
	}
}

func (d *days) known(name string) bool { return d.servers[name] != nil }

// enrol puts into Consul what the agents do not put there themselves.
func (d *days) enrol(t *testing.T) {
	t.Helper()
	for name, server := range d.servers {
		register(t, d.s, name, "web", server.Addr, nil)
	}
	within(t, "the table is written", func(ctx context.Context) error { return tryPutTable(ctx, d.s, daysTable) })
	d.intend(t, "deny")
}

// intend allows or denies the canary. A Consul that has just been elected says for a moment that it cannot be done, or leaves out
// a change to what held at some time before it was stopped, and that it has yet to read on to the end of; so it is asked whether
// it has been done.
func (d *days) intend(t *testing.T, action string) {
	t.Helper()
	within(t, "the intention is written", func(ctx context.Context) error {
		err := d.s.Consul.Put(ctx, "/v1/config", map[string]any{
			"Kind": "service-intentions", "Name": "proxy",
			"Sources": []map[string]any{{"Name": "canary", "Action": action}, {"Name": "entry", "Action": "allow"}},
		})
		if err != nil {
			return err
		}
		var have struct{ Sources []struct{ Action string } }
		if err := d.s.Consul.Get(ctx, "/v1/config/service-intentions/proxy?consistent", &have); err != nil {
			return err
		}
		if len(have.Sources) != 2 || have.Sources[0].Action != action {
			return fmt.Errorf("it is %v", have.Sources)
		}
		return nil
	})
}

// denied is nil when a connection does not get through.
func denied(ctx context.Context, addr string) error {
	if connectOnce(ctx, addr) == nil {
		return errors.New("it got through")
	}
	return ctx.Err()
}

// followed sees to it that a change of the intentions takes effect, and returns after how long it did.
func (d *days) followed(t *testing.T, when string) time.Duration {
	t.Helper()
	began := time.Now()
	d.canary.allowed.Store(true)
	d.intend(t, "allow")
	within(t, when+": allowed", func(ctx context.Context) error { return connectOnce(ctx, d.canary.addr) })
	took := time.Since(began)
	d.intend(t, "deny")
	within(t, when+": denied", func(ctx context.Context) error {
		for range 3 { // one that was made before may be under way
			if err := denied(ctx, d.canary.addr); err != nil {
				return err
			}
		}
		return nil
	})
	d.canary.allowed.Store(false)
	return took
}

// try lets a bad day last for a while. No established connection and no new one may suffer, who was denied stays denied,
// and when it is over changes are followed soon.
func (d *days) try(t *testing.T, name string, last time.Duration, begin, end func()) {
	t.Helper()
	made, sent, tried, scanned := d.load.made.Load(), d.held.lines.Load(), d.canary.tried.Load(), d.scan.Load()
	said := lines(d.dials) + lines(d.accepts)
	begin()
	pause(t, last)
	end()
	tried = d.canary.tried.Load() - tried
	took := d.followed(t, name)
	failed := d.load.check(t)
	lost := d.held.check(t, name)
	passed := d.canary.passed.Swap(0)
	t.Logf("%s: of %d established %d lost (%d lines), of %d new %d failed, denied %d of %d, %d scans, %d log lines; followed after %s", name,
		established, lost, d.held.lines.Load()-sent, d.load.made.Load()-made, failed, tried-passed, tried, d.scan.Load()-scanned,
		lines(d.dials)+lines(d.accepts)-said, took.Round(time.Millisecond))
	if passed > 0 {
		t.Errorf("%s: %d connections got through that are denied", name, passed)
	}
}
