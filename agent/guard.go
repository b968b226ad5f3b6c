package agent

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"argosy/agent/config"
	"argosy/agent/identity"
	"argosy/agent/listen"
	"argosy/agent/outcome"
)

// guardKey says whose clients a guard knows: those of a Connect service, or those of one listener with certificates from files,
// which has a list of its own of those that may come in.
type guardKey struct {
	identity identityKey
	listener string // "": any
}

func guardOf(l config.Listener) guardKey {
	if l.TLS.Connect != "" {
		return guardKey{identity: serverKey(l.TLS)}
	}
	return guardKey{serverKey(l.TLS), l.Name}
}

// guard knows the clients that one identity has let in, and judges them again whenever the identity may think otherwise.
// Each connection is on the list from its handshake to its end, so that no change can slip by in between. The guard goes on
// after its identity has left the configuration, for as long as there are such connections.
type guard struct {
	agent *Agent
	judge atomic.Pointer[liveIdentity] // that judges now
	ids   atomic.Pointer[[]string]     // the SPIFFE ids that clients may have; none: any. Another pointer where they are others
	poke  chan struct{}                // of one: the identity or the configuration is another

	mu     sync.Mutex
	guests map[[sha256.Size]byte]*guest
	open   int // connections
	closed bool

	cancel  context.CancelFunc // nil: not started
	running sync.WaitGroup
}

// guest is who has shown certain certificates, on any number of connections: they are judged as one, and a connection
// holds no more than a pointer.
type guest struct {
	*identity.Peer
	guard       *guard
	key         [sha256.Size]byte
	connections int // guarded by guard.mu

	judging sync.Mutex // held by who makes the next verdict
	verdict atomic.Pointer[verdict]
}

// verdict is what a judge has said. It is never changed.
type verdict struct {
	by      *liveIdentity
	ids     *[]string
	version uint64 // of its knowledge, at least
	denied  error  // nil: the client may stay
	since   time.Time
}

var errIdentityGone = errors.New("what its client was judged by is not configured any more")

func newGuard(a *Agent) *guard {
	g := &guard{agent: a, poke: make(chan struct{}, 1), guests: map[[sha256.Size]byte]*guest{}}
	g.ids.Store(&[]string{})
	return g
}

// watchClients makes the identities of a generation judge the clients of its listeners. The generation is current. It
// returns the identities that do not judge any more.
func (a *Agent) watchClients(g *generation) (before []*liveIdentity) {
	for _, l := range g.listeners {
		if l.guard != nil && !slices.Equal(*l.guard.ids.Load(), l.config.TLS.ClientIDs) {
			l.guard.ids.Store(&l.config.TLS.ClientIDs)
		}
	}
	for key, guard := range a.guards {
		if i := g.identities[key.identity]; i != nil {
			if b := guard.use(i); b != nil && b != i {
				before = append(before, b)
			}
		} else {
			guard.wake()
		}
	}
	for _, l := range g.listeners {
		if l.guard == nil {
			continue
		}
		for _, action := range []string{config.DenyDrain, config.DenyClose, config.DenyKeep} {
			a.metrics.deniedLive.WithLabelValues(l.name, action)
		}
	}
	return before
}

// judges reports whether an identity that has left the configuration still judges clients.
func (a *Agent) judges(i *liveIdentity) bool {
	for _, guard := range a.guards {
		if guard.judge.Load() == i {
			return true
		}
	}
	return false
}

// closeGuards ends the guards, with force all of them, and else those that have left the configuration and have no
// connections left.
func (a *Agent) closeGuards(force bool) {
	if force {
		a.changing.Lock()
	} else if !a.changing.TryLock() {
		return
	}
	defer a.changing.Unlock()
	current := a.current.Load()
	used := map[*guard]bool{}
	for _, l := range current.listeners {
		used[l.guard] = !force
	}
	for key, guard := range a.guards {
		if used[guard] || !guard.close(force) {
			continue
		}
		delete(a.guards, key)
		if i := guard.judge.Load(); i != nil && i != current.identities[key.identity] && !a.judges(i) {
			i.stop()
		}
	}
}

// use makes an identity judge, and starts the guard if need be. It returns the one that has judged before, or nil.
func (g *guard) use(i *liveIdentity) (before *liveIdentity) {
	before = g.judge.Swap(i)
	if g.cancel != nil {
		g.wake()
		return before
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.running.Go(func() { g.follow(ctx) })
	return before
}

// wake makes the guard look at everything again.
func (g *guard) wake() {
	select {
	case g.poke <- struct{}{}:
	default:
	}
}

// close ends the guard if there are no connections left, or in any case where force is set. Its identity goes on.
func (g *guard) close(force bool) bool {
	g.mu.Lock()
	if g.open > 0 && !force {
		g.mu.Unlock()
		return false
	}
	g.closed = true
	g.mu.Unlock()
	if g.cancel != nil {
		g.cancel()
		g.running.Wait()
	}
	return true
}

// enter puts a connection on the list. It returns nil when the guard is closed.
func (g *guard) enter(s tls.ConnectionState) *guest {
	key := identity.PeerKey(s)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	x := g.guests[key]
	if x == nil {
		x = &guest{Peer: identity.NewPeer(s, time.Now()), guard: g, key: key}
		g.guests[key] = x
	}
	x.connections++
	g.open++
	return x
}

// leave takes one of its connections off the list.
func (x *guest) leave() {
	g := x.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if x.connections--; x.connections == 0 {
		delete(g.guests, x.key)
	}
}

// all returns the guests of now.
func (g *guard) all() []*guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*guest, 0, len(g.guests))
	for _, x := range g.guests {
		all = append(all, x)
	}
	return all
}

// current returns the verdict by what is known now. A judge who does not know yet leaves it as it was.
func (x *guest) current() *verdict {
	if v := x.newest(); v != nil {
		return v
	}
	x.judging.Lock()
	defer x.judging.Unlock()
	if v := x.newest(); v != nil {
		return v
	}
	old, i := x.verdict.Load(), x.guard.judge.Load()
	v := &verdict{by: i, ids: x.guard.ids.Load()}
	v.version, _ = i.judge.Changed().Load() // before it judges: what changes meanwhile makes this verdict an old one
	if v.denied = x.Covered(*v.ids); v.denied == nil {
		v.denied = i.judge.Judge(x.Peer)
	}
	switch {
	case errors.Is(v.denied, identity.ErrNotReady):
		v.denied = nil
		if old != nil {
			v.denied, v.since = old.denied, old.since
		}
	case v.denied != nil && old != nil && old.denied != nil:
		v.since = old.since
	case v.denied != nil:
		v.since = time.Now()
	}
	x.verdict.Store(v)
	return v
}

// denial is why the client may not stay, by the newest verdict that there is.
func (x *guest) denial() string {
	if x == nil {
		return ""
	}
	if v := x.verdict.Load(); v != nil && v.denied != nil {
		return v.denied.Error()
	}
	return ""
}

// newest returns the verdict if it is by what is known now, else nil.
func (x *guest) newest() *verdict {
	v, i := x.verdict.Load(), x.guard.judge.Load()
	if v == nil || v.by != i || v.ids != x.guard.ids.Load() {
		return nil
	}
	if version, _ := i.judge.Changed().Load(); version != v.version {
		return nil
	}
	return v
}

// judgeOf is an identity as one that judges clients: all that listeners have are such.
func judgeOf(i identity.Identity) identity.Judge {
	j, _ := i.(identity.Judge)
	return j
}

// watchClient puts the connection on the list of the guard that watches its client, if there is one.
func (c *connection) watchClient(in *listen.Inbound) error {
	t, ok := in.Conn.(*tls.Conn)
	if !ok || c.listener.guard == nil {
		return nil
	}
	s := t.ConnectionState()
	if len(s.PeerCertificates) == 0 { // where they are optional
		return nil
	}
	x := c.listener.guard.enter(s)
	if x == nil {
		return outcome.Wrap(outcome.Denied, errIdentityGone)
	}
	c.mu.Lock()
	if c.hello == nil {
		c.hello = &hello{name: in.Name, serverName: in.ServerName}
	}
	c.hello.guest = x
	c.mu.Unlock()
	return c.mayStay()
}

// mayStay returns why the connection's client may not be connected any more.
func (c *connection) mayStay() error {
	if c.hello == nil || c.hello.guest == nil {
		return nil
	}
	if why := c.hello.guest.current().denied; why != nil {
		return outcome.Errorf(outcome.Denied, "client refused: %w", why)
	}
	return nil
}

// guest returns who watches over the connection's client while it is open, or nil.
func (c *connection) guest() *guest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hello == nil {
		return nil
	}
	return c.hello.guest
}

// unwatch takes the connection off the list.
func (c *connection) unwatch() {
	x := c.guest()
	if x == nil {
		return
	}
	c.mu.Lock()
	c.hello.guest = nil
	c.mu.Unlock()
	x.leave()
}
