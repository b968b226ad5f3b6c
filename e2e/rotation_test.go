//go:build servers

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// TestRotation: Consul's CA gets a new root again and again, and with it everybody a new leaf, under live and new
// connections through two agents: plain TCP to one that dials Connect, with certificates from Consul's servers, to one that
// accepts it, with certificates from Consul's agent. Not one handshake may fail, and not one connection may be cut. It runs
// alone.
func TestRotation(t *testing.T) {
	live, perSecond := 1000, 200
	if testing.Short() {
		live, perSecond = 100, 50
	}
	s := stack.New(t, stack.Options{Consul: true})
	register(t, s, "web1", "web", startNamed(t, "web1").Addr, nil)
	fleet, entry := s.Addr(), s.Addr()
	slow := strings.NewReplacer( // what has nothing to do with certificates is not to count as a failure, nor to be tried again
		`listener "in" {`, "listener \"in\" {\n  connect_timeout   = \"30s\"\n  handshake_timeout = \"30s\"",
		`listener "entry" {`, "listener \"entry\" {\n  connect_timeout = \"30s\"",
		`client "/svc/proxy" {`, "client \"/svc/proxy\" {\n  connect_timeout = \"30s\"\n  retries         = 0",
	)
	agents := []*agent{startAgent(t, s, "fleet", slow.Replace(onDeny(fleetConnectHCL(s, fleet), "close")))}
	within(t, "the fleet is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	servers := fmt.Sprintf("connect {\n  source  = \"servers\"\n  address = %q\n}\n", s.Consul.GRPCAddr)
	agents = append(agents, startAgent(t, s, "entry", servers+slow.Replace(entryHCL(s, entry))))
	intention(t, s, "entry", "proxy", "allow")
	within(t, "the way is open", func(ctx context.Context) error { return reaches(ctx, entry, "web1") })

	load := &rotationLoad{addr: entry}
	ctx, stop := context.WithCancel(t.Context())
	defer func() {
		stop()
		load.wg.Wait()
	}()
	for range live {
		c, err := dialNamed(ctx, entry)
		if err != nil {
			t.Fatal(err)
		}
		load.wg.Go(func() { load.keep(ctx, c) })
	}
	load.wg.Go(func() { load.come(ctx, perSecond) })

	// Each service's certificate, as it is seen from outside.
	expiry := func(ctx context.Context) (all [2]float64, err error) {
		for i, a := range agents {
			all[i], err = a.metric(ctx, "argosy_identity_certificate_expiry_timestamp_seconds")
			if err != nil {
				return all, err
			}
		}
		return all, nil
	}
	rotations := 0
	for started := time.Now(); rotations < 2 || rotations < 4 && time.Since(started) < 20*time.Second; rotations++ {
		if rotations == 1 && testing.Short() {
			break
		}
		before, err := expiry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pause(t, 1100*time.Millisecond) // certificates end at whole seconds: a new one is to be told from the old one
		began, made := time.Now(), load.made.Load()
		rotate(t, s)
		var took [2]time.Duration
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second) // Consul spreads new leaves over 30s
		err = stack.Eventually(ctx, 100*time.Millisecond, func(ctx context.Context) error {
			now, err := expiry(ctx)
			if err != nil {
				return err
			}
			for i := range now {
				switch {
				case now[i] == before[i]:
					err = errors.New("an agent has its old certificate")
				case took[i] == 0:
					took[i] = time.Since(began)
				}
			}
			return err
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		pause(t, time.Second)
		t.Logf("rotation %d: the fleet had its new certificate after %v, the entry after %v; %d connections made meanwhile", rotations+1,
			took[0].Round(100*time.Millisecond), took[1].Round(100*time.Millisecond), load.made.Load()-made)
	}
	var roots struct{ Roots []struct{ ID string } }
	if err := s.Consul.Get(t.Context(), "/v1/agent/connect/ca/roots", &roots); err != nil {
		t.Fatal(err)
	}
	if len(roots.Roots) != rotations+1 {
		t.Errorf("%d roots after %d rotations", len(roots.Roots), rotations)
	}
	stop()
	load.wg.Wait()

	t.Logf("%d connections made, %d lines echoed on %d live ones: %d failed to connect, %d were cut",
		load.made.Load(), load.echoes.Load(), live, load.failed.Load(), load.cut.Load())
	for _, err := range load.errors {
		t.Error(err)
	}
	if load.failed.Load() > 0 || load.cut.Load() > 0 {
		t.Error("the rotation was felt")
	}
	if n := load.made.Load(); n < int64(perSecond) {
		t.Errorf("only %d connections were made", n)
	}
	// What an agent has tried again is a failure, too.
	for _, a := range agents {
		for name, labels := range map[string][]string{
			"argosy_dial_failures_total":                nil,
			"argosy_connections_denied_live_total":      nil,
			"argosy_identity_refused_total":             nil,
			"argosy_connections_closed_total (tls)":     {`outcome="tls"`},
			"argosy_connections_closed_total (denied)":  {`outcome="denied"`},
			"argosy_connections_closed_total (dial)":    {`outcome="dial"`},
			"argosy_connections_closed_total (drained)": {`outcome="drained"`},
		} {
			var metric string
			fmt.Sscan(name, &metric)
			if n, err := a.metric(t.Context(), metric, labels...); err == nil && n != 0 {
				t.Errorf("%s: %s is %v", a.Name, name, n)
			}
		}
	}
}

// rotate gives Consul's CA a new root, which Consul has the old one sign, too.
func rotate(t *testing.T, s *stack.Stack) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Consul.Put(t.Context(), "/v1/connect/ca/configuration", map[string]any{
		"Provider": "consul",
		"Config": map[string]any{
			"PrivateKey":  string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})),
			"LeafCertTTL": "72h", "IntermediateCertTTL": "8760h",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rotationLoad counts what happens to connections.
type rotationLoad struct {
	addr                      string
	wg                        sync.WaitGroup
	made, echoes, failed, cut atomic.Int64

	mu     sync.Mutex
	errors []error // the first few
}

func (l *rotationLoad) note(count *atomic.Int64, err error) {
	count.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) < 10 {
		l.errors = append(l.errors, err)
	}
}

// keep uses a connection every few seconds until ctx ends.
func (l *rotationLoad) keep(ctx context.Context, c *client) {
	defer c.Close()
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for i := 0; ; i++ {
		if err := c.echo(fmt.Sprintf("line %d", i)); err != nil {
			l.note(&l.cut, fmt.Errorf("%s: a live connection: %w", time.Now().Format("05.000"), err))
			return
		}
		l.echoes.Add(1)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// come makes so many connections a second, each for one line, until ctx ends.
func (l *rotationLoad) come(ctx context.Context, perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		all.Go(func() {
			began := time.Now()
			if err := l.once(); err != nil {
				l.note(&l.failed, fmt.Errorf("%s: a new connection: %w", began.Format("05.000"), err))
			}
			l.made.Add(1)
		})
	}
}

// once connects, says a line, and hears it after the server's name.
func (l *rotationLoad) once() error {
	c, err := net.DialTimeout("tcp", l.addr, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	const said, heard = "hello\n", "web1\nhello\n"
	if _, err := io.WriteString(c, said); err != nil {
		return err
	}
	b := make([]byte, len(heard))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != heard {
		return fmt.Errorf("heard %q", b)
	}
	return nil
}
