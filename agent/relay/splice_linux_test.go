package relay_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/agent/relay/relaytest"
)

// pipes counts the pipes that are open: the kernel moves bytes between sockets through one.
func pipes(t *testing.T) (n int) {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// TestBulkIsSpliced: a bulk transfer between plain connections goes through a pipe, small messages and TLS do not.
func TestBulkIsSpliced(t *testing.T) {
	for _, c := range []struct {
		name    string
		tls     bool
		size    int
		spliced bool
	}{{"small", false, 1000, false}, {"bulk", false, 64 << 20, true}, {"bulk with TLS", true, 64 << 20, false}} {
		for range 3 { // pipes of the tests before, which Go keeps for the next to need one, are closed by collections
			runtime.GC()
			time.Sleep(20 * time.Millisecond)
		}
		before := pipes(t)
		clientFar, clientNear := relaytest.Pipe(t, c.tls, false)
		serverFar, serverNear := relaytest.Pipe(t, false, true)
		r := relay.New()
		m := &relay.Meter{}
		link := r.Join(relay.Pair{Client: clientNear, Server: serverNear, Meter: m}, func(relay.Result) {})
		written := make(chan struct{})
		go func() {
			defer close(written)
			serverFar.Write(make([]byte, c.size)) // nobody reads, so that it stands still
		}()
		for last := int64(-1); last != m.Out.Load() || last == 0; time.Sleep(100 * time.Millisecond) {
			last = m.Out.Load()
		}
		if spliced := pipes(t) > before; spliced != c.spliced {
			t.Errorf("%s: %d pipes before and %d while it moves", c.name, before, pipes(t))
		}
		link.Cut(outcome.Drained)
		clientFar.Close()
		serverFar.Close()
		<-written
		r.Wait()
	}
}
