//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// tick says something every millisecond, until its peer has left.
func tick(c net.Conn) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := fmt.Fprintln(c, "tick"); err != nil {
			return
		}
		<-tick.C
	}
}

// onDeny is the fleet's configuration with another on_deny.
func onDeny(hcl, action string) string {
	return strings.Replace(hcl, `connect = "proxy"`, fmt.Sprintf("connect = \"proxy\"\n    on_deny = %q", action), 1)
}

// spread is what times were like.
func spread(all []time.Duration) string {
	all = slices.Clone(all)
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[min(len(all)-1, int(q*float64(len(all))))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("n=%d p50=%v p90=%v p99=%v max=%v", len(all), at(0.5), at(0.9), at(0.99), all[len(all)-1].Round(10*time.Microsecond))
}

// TestDenyLatency measures how long a client goes on getting bytes over an open connection after an intention has been
// written that denies it, through two agents: plain TCP to one that dials Connect, to one that accepts it. It runs alone.
func TestDenyLatency(t *testing.T) {
	const (
		rounds  = 100
		longest = 5 * time.Second // far beyond what is aimed at, for machines that do much else
	)
	s := stack.New(t, stack.Options{Consul: true})
	register(t, s, "web1", "web", startSaying(t, "web1", tick).Addr, nil)
	fleet, entry := s.Addr(), s.Addr()
	a := startAgent(t, s, "fleet", onDeny(fleetConnectHCL(s, fleet), "close"))
	within(t, "the fleet is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	startAgent(t, s, "entry", entryHCL(s, entry))

	var last, ended []time.Duration
	for range rounds {
		intention(t, s, "entry", "proxy", "allow")
		var c *client
		within(t, "allowed", func(ctx context.Context) (err error) {
			c, err = dialNamed(ctx, entry)
			return err
		})
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		type end struct {
			last, at time.Time
			err      error
		}
		reader := make(chan end, 1)
		go func() {
			var e end
			for b := make([]byte, 4096); e.err == nil; {
				var n int
				if n, e.err = c.r.Read(b); n > 0 {
					e.last = time.Now()
				}
			}
			e.at = time.Now()
			reader <- e
		}()
		pause(t, 400*time.Millisecond) // more than a few changes a second are followed at that rate
		began := time.Now()
		intention(t, s, "entry", "proxy", "deny")
		e := <-reader
		c.Close()
		switch {
		case e.last.IsZero() || e.at.Before(began):
			t.Fatalf("it ended before it was denied: %v", e.err)
		case errors.Is(e.err, os.ErrDeadlineExceeded) || e.at.Sub(began) > longest:
			t.Fatalf("the connection goes on for %v: %v", e.at.Sub(began), e.err)
		case errors.Is(e.err, io.EOF):
			t.Error("the end of the connection looks like one in order")
		case !errors.Is(e.err, syscall.ECONNRESET):
			t.Error(e.err)
		}
		last, ended = append(last, max(0, e.last.Sub(began))), append(ended, e.at.Sub(began))
	}
	t.Logf("from sending the intention to the last byte: %s", spread(last))
	t.Logf("from sending the intention to the reset:     %s", spread(ended))
	cut, err := a.metric(t.Context(), "argosy_connections_denied_live_total", `action="close"`)
	if err != nil || cut != rounds {
		t.Errorf("%v connections were cut, not %d (%v)", cut, rounds, err)
	}
}

// TestDenyMany: a thousand open connections are cut as fast as the rate allows, and those that are left when the
// intention is taken back stay.
func TestDenyMany(t *testing.T) {
	const many = 1000
	s := stack.New(t, stack.Options{Consul: true})
	server := startNamed(t, "web1")
	register(t, s, "web1", "web", server.Addr, nil)
	fleet, entry := s.Addr(), s.Addr()
	a := startAgent(t, s, "fleet", onDeny(fleetConnectHCL(s, fleet), "close"))
	within(t, "the fleet is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	startAgent(t, s, "entry", entryHCL(s, entry))
	within(t, "the way is open", func(ctx context.Context) error { return reaches(ctx, entry, "web1") })
	fill := func() []*client {
		t.Helper()
		all := make([]*client, many)
		for i := range all {
			var err error
			if all[i], err = dialNamed(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { all[i].Close() })
		}
		return all
	}
	all := fill()
	began := time.Now()
	intention(t, s, "entry", "proxy", "deny")
	var ended []time.Duration
	for _, c := range all {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		ended = append(ended, time.Since(began))
	}
	t.Logf("from sending the intention to the end of each of %d connections, in their order: %s", many, spread(ended))
	if took := ended[many-1]; took < 500*time.Millisecond {
		t.Errorf("%d were cut in %v: that is not 1000 a second", many, took)
	}
	cut := func(ctx context.Context) float64 {
		n, err := a.metric(ctx, "argosy_connections_denied_live_total", `action="close"`)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	intention(t, s, "entry", "proxy", "allow")
	within(t, "allowed again", func(ctx context.Context) error { return reaches(ctx, entry, "web1") })
	all, before := fill(), cut(t.Context())
	intention(t, s, "entry", "proxy", "deny")
	within(t, "some are cut", func(ctx context.Context) error {
		if cut(ctx) == before {
			return errors.New("none yet")
		}
		return nil
	})
	intention(t, s, "entry", "proxy", "allow")
	within(t, "allowed again", func(ctx context.Context) error { return reaches(ctx, entry, "web1") })
	left := 0
	for _, c := range all {
		if c.echo("still here") == nil {
			left++
		}
	}
	n := int(cut(t.Context()) - before)
	t.Logf("%d of %d were cut before the intention was taken back", n, many)
	if left != many-n {
		t.Errorf("%d are left of %d, of which %d were cut", left, many, n)
	}
}

// TestLifetimeOfConnect: what bounds the age of a proof is the age of the connection, and not all end at once.
func TestLifetimeOfConnect(t *testing.T) {
	t.Parallel()
	const many = 20
	s := stack.New(t, stack.Options{Consul: true})
	register(t, s, "web1", "web", startNamed(t, "web1").Addr, nil)
	fleet, entry := s.Addr(), s.Addr()
	hcl := strings.Replace(fleetConnectHCL(s, fleet), `listener "in" {`, "listener \"in\" {\n  max_lifetime    = \"4s\"\n  lifetime_jitter = 0.5", 1)
	a := startAgent(t, s, "fleet", hcl)
	within(t, "the fleet is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	startAgent(t, s, "entry", entryHCL(s, entry))
	within(t, "the way is open", func(ctx context.Context) error { return reaches(ctx, entry, "web1") })
	var all sync.WaitGroup
	ages := make([]time.Duration, many)
	for i := range ages {
		all.Go(func() {
			began := time.Now()
			c, err := dialNamed(t.Context(), entry)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.r.ReadByte(); err != io.EOF {
				t.Errorf("%v, want an end in order", err)
			}
			ages[i] = time.Since(began)
		})
	}
	all.Wait()
	t.Logf("ages with max_lifetime = 4s and lifetime_jitter = 0.5: %s", spread(ages))
	if youngest, oldest := slices.Min(ages), slices.Max(ages); youngest < 2*time.Second || oldest-youngest < 100*time.Millisecond {
		t.Errorf("they end after %v to %v", youngest, oldest)
	}
	within(t, "all have ended for their age", func(ctx context.Context) error {
		n, err := a.metric(ctx, "argosy_connections_closed_total", `outcome="lifetime"`)
		if err == nil && n < many {
			err = fmt.Errorf("%v of %d", n, many)
		}
		return err
	})
}
