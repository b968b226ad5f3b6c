package agent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/agent/identity"
	"argosy/internal/watch"
)

// opinions is a judge of clients that judges as a test says, by name.
type opinions struct {
	mu      sync.Mutex
	denied  map[string]error
	changed *watch.Cell[uint64]
}

func (o *opinions) Judge(p *identity.Peer) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.denied[p.Name()]
}

func (o *opinions) Changed() watch.Reader[uint64] { return o.changed }

// say makes the judge think so of a client; nil is for one that may stay.
func (o *opinions) say(client string, why error) {
	o.mu.Lock()
	o.denied[client] = why
	o.mu.Unlock()
	o.changed.Update(func(n uint64) uint64 { return n + 1 })
}

var errTest = fmt.Errorf("%w: the test does not want it", identity.ErrDenied)

// judged is an agent with a listener "in" whose clients are judged by a test.
type judged struct {
	*proxy
	*opinions
	world *world
	cfg   *config.Config
	tls   map[string]*tls.Config // by client
}

func startJudged(t *testing.T, deny config.Deny) *judged {
	t.Helper()
	j := &judged{world: newWorld(t), tls: map[string]*tls.Config{}}
	files := j.world.files("fleet", "fleet.test")
	l := listenerTo("in", "/svc/echo")
	l.Deny = deny
	l.TLS = &config.ServerTLS{
		Certificates: []config.Certificate{{CertFile: files.Cert, KeyFile: files.Key}}, ClientCAFile: files.CA, ClientAuth: "required",
	}
	j.cfg = baseConfig(map[string][]string{"echo": {startBackend(t, "echo").addr}})
	j.cfg.Listeners = []config.Listener{l}
	j.proxy = startAgent(t, j.cfg)

	a := j.agent
	a.changing.Lock()
	defer a.changing.Unlock()
	g := a.current.Load()
	key := serverKey(l.TLS)
	real := g.identities[key]
	j.opinions = &opinions{denied: map[string]error{}, changed: watch.New(uint64(0), nil)}
	i := &liveIdentity{Identity: real.Identity, judge: j.opinions, key: key, logger: real.logger}
	g.identities[key] = i
	a.guards[guardOf(l)].use(i)
	return j
}

// as connects as a client, and returns what answers.
func (j *judged) as(client string) net.Conn {
	j.proxy.t.Helper()
	c, who := j.dialTLS("in", j.client(client))
	if who != "echo" {
		j.proxy.t.Fatalf("%s answers", who)
	}
	return c
}

func (j *judged) client(name string) *tls.Config {
	j.proxy.t.Helper()
	if j.tls[name] == nil {
		c, err := j.world.identity(name).ClientNamed("fleet.test")
		if err != nil {
			j.proxy.t.Fatal(err)
		}
		j.tls[name] = c
	}
	return j.tls[name]
}

// refused connects as a client that is to be refused.
func (j *judged) refused(client string) {
	j.proxy.t.Helper()
	raw, err := net.Dial("tcp", j.address("in"))
	if err != nil {
		j.proxy.t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(tls.Client(raw, j.client(client))); len(b) > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		j.proxy.t.Errorf("%q, %v for a client that is denied", b, err)
	}
}

// wasReset checks that a connection is broken off.
func wasReset(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

func (j *judged) expectDenied(action string, n float64) {
	j.proxy.t.Helper()
	j.expectMetric(fmt.Sprintf("argosy_connections_denied_live_total{action=%q,listener=\"in\"}", action), n)
}

func (j *judged) expectLogged(text string, times int) {
	j.proxy.t.Helper()
	count := func() int { return strings.Count(j.log.String(), text) }
	eventually(j.proxy.t, fmt.Sprintf("%q is logged %d times", text, times), func() bool { return count() >= times })
	if n := count(); n != times {
		j.proxy.t.Errorf("%q is logged %d times, want %d", text, n, times)
	}
}

const (
	deniedLine = "a client with open connections may not connect any more: listener=in peer=web"
	closedLine = "open connections of a denied client are closed: listener=in peer=web"
	sparedLine = "open connections of a client that was denied stay: it is allowed again: listener=in peer=web"
)

func TestDenyClose(t *testing.T) {
	j := startJudged(t, config.Deny{Action: config.DenyClose, Grace: time.Hour})
	web, other := []net.Conn{j.as("web"), j.as("web"), j.as("web")}, j.as("other")
	j.expectDenied("close", 0)
	j.say("web", errTest)
	for _, c := range web {
		wasReset(t, c)
	}
	echo(t, other, "still here")
	j.expectClosed("in", "denied", 3)
	j.expectDenied("close", 3)
	j.expectLogged(deniedLine+" connections=3 on_deny=close reason=\"denied: the test does not want it\"", 1)
	j.expectLogged(closedLine+" connections=3", 1)
	j.refused("web")
	j.expectClosed("in", "denied", 4)
	j.say("web", nil)
	echo(t, j.as("web"), "and again")
	j.say("nobody", errTest)
	j.expectLogged(deniedLine, 1)
	j.expectWatched(2, 2)
}

// expectWatched checks how many connections of how many clients are on the list.
func (j *judged) expectWatched(connections, clients int) {
	j.proxy.t.Helper()
	j.agent.changing.Lock()
	defer j.agent.changing.Unlock()
	for _, g := range j.agent.guards {
		eventually(j.proxy.t, fmt.Sprintf("%d connections of %d clients are watched", connections, clients), func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.open == connections && len(g.guests) == clients
		})
	}
}

func TestDenyDrain(t *testing.T) {
	j := startJudged(t, config.Deny{Action: config.DenyDrain, Grace: 2 * time.Second})
	c := j.as("web")
	began := time.Now()
	j.say("web", errTest)
	j.refused("web") // new ones at once
	if time.Since(began) < time.Second {
		echo(t, c, "for a while")
	}
	wasReset(t, c)
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("cut after %v", took)
	}
	j.expectDenied("drain", 1)
	j.expectLogged(deniedLine, 1)
	j.say("web", nil)

	// Allowed again before the time is over.
	spared := j.as("web")
	j.reload(func(d *config.Deny) { d.Grace = time.Hour })
	j.say("web", errTest)
	eventually(t, "it is denied", func() bool { return strings.Count(j.log.String(), deniedLine) == 2 })
	j.say("web", nil)
	eventually(t, "it is let off", func() bool { return strings.Count(j.log.String(), sparedLine) == 1 })
	j.reload(func(d *config.Deny) { d.Grace = 0 })
	echo(t, spared, "still here")
	j.say("web", errTest)
	wasReset(t, spared)
	j.expectDenied("drain", 2)
}

// reload changes what happens to the connections of denied clients.
func (j *judged) reload(edit func(*config.Deny)) {
	j.proxy.t.Helper()
	j.cfg = edited(j.cfg, func(c *config.Config) { edit(&c.Listeners[0].Deny) })
	if err := j.agent.Reload(j.cfg); err != nil {
		j.proxy.t.Fatal(err)
	}
}

func TestDenyKeep(t *testing.T) {
	j := startJudged(t, config.Deny{Action: config.DenyKeep})
	c := j.as("web")
	j.say("web", errTest)
	j.expectDenied("keep", 1)
	j.say("other", errTest) // and no more of it
	j.refused("web")
	echo(t, c, "still here")
	j.expectDenied("keep", 1)
	if _, body := j.get("/v1/connections"); !strings.Contains(body, `"denied": "denied: the test does not want it"`) {
		t.Errorf("the connection does not say that it is kept: %s", body)
	}
	j.expectLogged(deniedLine, 1)
	j.reload(func(d *config.Deny) { d.Action = config.DenyClose })
	wasReset(t, c)
	j.expectDenied("close", 1)
	j.expectDenied("keep", 1)
}

// TestNotKnownIsNoVerdict: a judge who does not know (any more, or yet) changes nothing.
func TestNotKnownIsNoVerdict(t *testing.T) {
	j := startJudged(t, config.Deny{Action: config.DenyClose})
	c := j.as("web")
	j.say("web", identity.ErrNotReady)
	j.say("other", errTest) // it has been looked at
	j.refused("other")
	echo(t, c, "still here")
	j.say("web", errTest)
	wasReset(t, c)
	j.expectClosed("in", "denied", 2)
	j.expectDenied("close", 1)
}

// TestDenyIsPaced: many connections end one after the other, and those that are left stay when the client is allowed again.
func TestDenyIsPaced(t *testing.T) {
	j := startJudged(t, config.Deny{Action: config.DenyClose, Rate: 20})
	var all []net.Conn
	const many = 150
	for range many {
		all = append(all, j.as("web"))
	}
	began := time.Now()
	j.say("web", errTest)
	cut := func() float64 { return j.metric(`argosy_connections_denied_live_total{action="close",listener="in"}`) }
	eventually(t, "some are cut", func() bool { return cut() >= 10 })
	j.say("web", nil)
	eventually(t, "the rest is let off", func() bool { return strings.Count(j.log.String(), sparedLine) == 1 })
	n, took := cut(), time.Since(began)
	if most := 2 + 20*took.Seconds() + 1; n > most || n == many {
		t.Errorf("%v of %d are cut in %v", n, many, took)
	}
	left := 0
	for _, c := range all {
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
			left++
		}
	}
	if left != many-int(n) {
		t.Errorf("%d of %d are left and %v were cut", left, many, n)
	}
}

// TestNoneSlipsThrough: connections come all the time while their client is denied and allowed again. Whenever it is denied
// for a while, none is open.
func TestNoneSlipsThrough(t *testing.T) {
	j := startJudged(t, config.Deny{Action: config.DenyClose})
	config, address := j.client("web"), j.address("in")
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var let atomic.Int64
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				raw, err := net.Dial("tcp", address)
				if err != nil {
					continue
				}
				raw.SetDeadline(time.Now().Add(patience))
				c := tls.Client(raw, config)
				if n, err := c.Read(make([]byte, 64)); err == nil && n > 0 {
					let.Add(1)
					c.Read(make([]byte, 1)) // until it is cut
				}
				raw.Close()
			}
		})
	}
	for round := range 60 {
		if before := let.Load(); round%6 == 0 {
			eventually(t, "some are let in", func() bool { return let.Load() > before })
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		j.say("web", errTest)
		if rand.N(3) == 0 {
			time.Sleep(rand.N(time.Millisecond))
			j.say("web", nil)
			continue
		}
		isOpen := func() (n int) {
			for _, c := range j.agent.census.all() {
				c.mu.Lock()
				if c.phase == open {
					n++
				}
				c.mu.Unlock()
			}
			return n
		}
		time.Sleep(10 * time.Millisecond) // for those that were on their way
		eventually(t, "none is open", func() bool { return isOpen() == 0 })
		j.say("web", nil)
	}
	j.say("web", errTest)
	close(stop)
	clients.Wait()
	eventually(t, "all have ended", func() bool { return j.agent.census.count() == 0 })
	j.expectWatched(0, 0)
}

// TestDenyAfterReload: connections are watched also when their listener has left the configuration.
func TestDenyAfterReload(t *testing.T) {
	j := startJudged(t, config.Deny{Action: config.DenyClose})
	web, other := j.as("web"), j.as("other")
	j.cfg = edited(j.cfg, func(c *config.Config) {
		c.Listeners = []config.Listener{listenerTo("plain", "/svc/echo")}
	})
	if err := j.agent.Reload(j.cfg); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond) // a turn of the chores
	j.say("web", errTest)
	wasReset(t, web)
	echo(t, other, "still here")
	other.Close()
	eventually(t, "the guard is gone", func() bool {
		j.agent.changing.Lock()
		defer j.agent.changing.Unlock()
		return len(j.agent.guards) == 0
	})
}

// TestJudgedByTheCAFile: clients from files are judged again when the CA file is another one.
func TestJudgedByTheCAFile(t *testing.T) {
	w, w2 := newWorld(t), newWorld(t)
	files := w.files("fleet", "fleet.test")
	both := t.TempDir() + "/both.pem"
	bundle := func(all ...*world) {
		t.Helper()
		var pem []byte
		for _, w := range all {
			pem = append(pem, w.ca.PEM()...)
		}
		if err := os.WriteFile(both+".new", pem, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(both+".new", both); err != nil {
			t.Fatal(err)
		}
	}
	bundle(w, w2)
	cfg := baseConfig(map[string][]string{"echo": {startBackend(t, "echo").addr}})
	l := listenerTo("in", "/svc/echo")
	l.Deny.Action = config.DenyClose
	l.TLS = &config.ServerTLS{
		Certificates: []config.Certificate{{CertFile: files.Cert, KeyFile: files.Key}}, ClientCAFile: both, ClientAuth: "optional",
	}
	cfg.Listeners = []config.Listener{l}
	p := startAgent(t, cfg)
	connect := func(i *world, service string) net.Conn {
		t.Helper()
		f := i.files(service)
		id, err := identity.NewFiles(f.Cert, f.Key, files.CA)
		if err != nil {
			t.Fatal(err)
		}
		config, err := id.ClientNamed("fleet.test")
		if err != nil {
			t.Fatal(err)
		}
		c, _ := p.dialTLS("in", config)
		return c
	}
	mine, theirs := connect(w, "mine"), connect(w2, "theirs")
	nobody, _ := p.dialTLS("in", &tls.Config{InsecureSkipVerify: true})
	bundle(w2)
	wasReset(t, mine)
	echo(t, theirs, "still here")
	echo(t, nobody, "still here")
	p.expectClosed("in", "denied", 1)
	if log := p.log.String(); !strings.Contains(log, "peer=mine connections=1 on_deny=close reason=\"peer's certificate is not accepted: ") {
		t.Errorf("the reason is not in the log")
	}
}

// TestJudgedByTheIDs: clients are judged again when a reload says that others may come in, by the listener that they came by.
func TestJudgedByTheIDs(t *testing.T) {
	w := newWorld(t)
	files := w.files("fleet", "fleet.test")
	cfg := baseConfig(map[string][]string{"echo": {startBackend(t, "echo").addr}})
	ids := func(services ...string) (all []string) {
		for _, s := range services {
			all = append(all, w.ca.ID(s).String())
		}
		return all
	}
	with := func(in, beside []string) *config.Config {
		return edited(cfg, func(c *config.Config) {
			c.Listeners = nil
			for name, ids := range map[string][]string{"in": in, "beside": beside} {
				l := listenerTo(name, "/svc/echo")
				l.Deny.Action = config.DenyClose
				l.TLS = &config.ServerTLS{
					Certificates: []config.Certificate{{CertFile: files.Cert, KeyFile: files.Key}}, ClientCAFile: files.CA, ClientAuth: "required", ClientIDs: ids,
				}
				c.Listeners = append(c.Listeners, l)
			}
		})
	}
	p := startAgent(t, with(nil, nil))
	connect := func(listener, service string) net.Conn {
		t.Helper()
		config, err := w.identity(service).ClientNamed("fleet.test")
		if err != nil {
			t.Fatal(err)
		}
		c, _ := p.dialTLS(listener, config)
		return c
	}
	web, api, beside := connect("in", "web"), connect("in", "api"), connect("beside", "web")
	if err := p.agent.Reload(with(ids("web", "api"), ids("web"))); err != nil {
		t.Fatal(err)
	}
	echo(t, web, "still here")
	if err := p.agent.Reload(with(ids("api"), ids("web"))); err != nil {
		t.Fatal(err)
	}
	wasReset(t, web)
	echo(t, api, "still here")
	echo(t, beside, "still here")
	p.expectClosed("in", "denied", 1)
	connect("in", "api").Close()
	if err := p.agent.Reload(with(nil, ids("other"))); err != nil {
		t.Fatal(err)
	}
	wasReset(t, beside)
	echo(t, api, "still here")
}
