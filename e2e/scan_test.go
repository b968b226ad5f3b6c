//go:build servers

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// hello is the first message of a TLS client that wants the server of that name.
func hello(name string) []byte {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, &tls.Config{ServerName: name}).Handshake()
		client.Close()
	}()
	b := make([]byte, 8192)
	n, _ := server.Read(b)
	return b[:n]
}

// TestScan sends very many names that do not exist, by SNI, from many clients at a time, at first while Consul is well
// and then while it is down. Names that exist go on to be served, asked for ever so rarely, and nothing grows.
func TestScan(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	good := startNamed(t, "good")
	register(t, s, "good", "good.example", good.Addr, nil)
	putTable(t, s, "/svc => /#/io.l5d.consul/.local")
	listen := s.Addr()
	m := startMischief(t, s.Consul.URL())
	a := startAgent(t, s, "agent", fmt.Sprintf(`
consul {
  address = %q
}
dtab {
  consul {}
}
namer "io.l5d.consul" {}
listener "edge" {
  address = %q
  sni {
    prefix = "/svc"
  }
}
`, m.Addr, listen))
	try := func(name []byte, patience time.Duration) error {
		c, err := net.DialTimeout("tcp", listen, 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(name); err != nil {
			return err
		}
		var b [5]byte
		_, err = io.ReadFull(c, b[:])
		if err == nil && string(b[:]) != "good\n" {
			err = fmt.Errorf("reached %q", b)
		}
		return err
	}
	known := hello("good.example")
	within(t, "good answers", func(context.Context) error { return try(known, patience) })
	goroutines, memory, said := a.gauge(t, "go_goroutines"), a.gauge(t, "process_resident_memory_bytes"), lines(a)

	template := hello("n0000000.example")
	for phase, names := range map[string]int{"well": 6000, "down": 2000} { // in any order
		patience := patience
		if phase == "down" {
			m.become(answer(500, "", "text/plain", "No cluster leader"))
			patience = 200 * time.Millisecond // of those who scan: nothing can be told about a name
		} else {
			m.become(nil)
		}
		asked := m.Requests.Load()
		var next, through atomic.Int64
		var scanning sync.WaitGroup
		started := time.Now()
		for range 64 {
			scanning.Go(func() {
				for i := next.Add(1); i <= int64(names); i = next.Add(1) {
					name := bytes.Replace(template, []byte("n0000000"), fmt.Appendf(nil, "%c%07d", phase[0], i), 1)
					if try(name, patience) == nil {
						through.Add(1)
					}
				}
			})
		}
		over := make(chan struct{})
		go func() { scanning.Wait(); close(over) }()
		peak, slowest := 0.0, time.Duration(0)
		for running := true; running; {
			select {
			case <-over:
				running = false
			case <-time.After(300 * time.Millisecond):
			}
			began := time.Now()
			if err := try(known, 5*time.Second); err != nil { // machines that test are busy
				t.Errorf("%s: the good name: %v", phase, err)
			}
			slowest = max(slowest, time.Since(began))
			peak = max(peak, a.gauge(t, "process_resident_memory_bytes"))
		}
		took := time.Since(started)
		t.Logf("consul is %s: %d names in %s, %d requests to Consul, %.0f MB at most, %d goroutines, %d lines, good took %s at most", phase, names, took.Round(time.Millisecond),
			m.Requests.Load()-asked, peak/1e6, int(a.gauge(t, "go_goroutines")), lines(a)-said, slowest.Round(time.Millisecond))
		if peak > 400e6 && !stack.Raced() {
			t.Errorf("%.0f MB of memory", peak/1e6)
		}
		if through.Load() > 0 {
			t.Errorf("%d names that do not exist were served", through.Load())
		}
	}
	t.Logf("goroutines were %v, memory was %.0f MB", goroutines, memory/1e6)
	if n := lines(a) - said; n > 100 {
		t.Errorf("%d lines in the log", n)
	}
}
