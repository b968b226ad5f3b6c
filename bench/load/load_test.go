//go:build linux

package load

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		values []time.Duration
		share  float64
		want   time.Duration
	}{
		{nil, 0.5, 0},
		{hundred[:1], 0.999, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 0.999, 100},
		{hundred, 0, 1},
		{hundred, 1, 100},
	} {
		if got := Percentile(c.values, c.share); got != c.want {
			t.Errorf("%v of %d: %d, want %d", c.share, len(c.values), got, c.want)
		}
	}
}

func startEcho(t *testing.T) *Echo {
	t.Helper()
	e, err := NewEcho()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// What is more than the sockets hold comes back whole, also to a client that first only writes.
func TestEcho(t *testing.T) {
	e := startEcho(t)
	c, err := Plain(e.Addr)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	c.(*net.TCPConn).SetReadBuffer(4096) // so that the server has to keep most of it
	sent := make([]byte, maxWaiting-1)
	for i := range sent {
		sent[i] = byte(i >> 3 * i)
	}
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("other bytes came back; %v", err)
	}
}

func TestExchanges(t *testing.T) {
	e := startEcho(t)
	for _, x := range []Exchanges{
		{Connections: 5, Size: 100, Count: 1000},
		{Connections: 5, Size: 40, Depth: 16, Count: 1600},
		{Connections: 5, Size: 100, Count: 300, Reconnect: true},
		{Connections: 1, Size: 1, Count: 1, Reconnect: true},
	} {
		x.Addr = e.Addr
		r := x.Run(t.Context())
		if r.Err != nil || r.Count < x.Count || r.Count > x.Count+int64(x.Connections*max(x.Depth, 1)) || r.Rate() <= 0 {
			t.Errorf("%+v: %+v", x, r)
		}
		if want := r.Count * int64(x.Size); r.Bytes < want {
			t.Errorf("%+v: %d bytes, want %d", x, r.Bytes, want)
		}
	}
}

// Connections that fail are counted, and do not go on for ever.
func TestExchangesFail(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r := Exchanges{Addr: addr, Connections: 5, Size: 1, Duration: time.Minute, Reconnect: true}.Run(t.Context())
	if r.Err == nil || r.Count != 0 || r.Errors < mostFailures || r.Errors > mostFailures+5 {
		t.Errorf("%+v", r)
	}
	if r := (Exchanges{Addr: "nowhere"}).Run(t.Context()); r.Err == nil {
		t.Error("an address that is none")
	}
}

func TestBulk(t *testing.T) {
	s, err := NewSource()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := Bulk(t.Context(), Plain(s.Addr), 3, 50*time.Millisecond)
	if r.Err != nil || r.Count != 3 || r.Bytes < 3*256<<10 || r.Bytes%(256<<10) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestHold(t *testing.T) {
	e, err := NewEcho()
	if err != nil {
		t.Fatal(err)
	}
	h, err := Hold(t.Context(), Plain(e.Addr), 20)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	r := Dials(t.Context(), Plain(e.Addr), 2, 20*time.Millisecond)
	if r.Count < 2 || r.Errors != 0 {
		t.Errorf("%+v", r)
	}
	e.Close()
	if h.Check() == nil {
		t.Error("connections are there whose server is gone")
	}
	if _, err := Hold(t.Context(), Plain(e.Addr), 3); err == nil {
		t.Error("connections to nowhere")
	}
}

// A server that stops for a while makes all requests late that were due meanwhile, not just the one it had at hand.
func TestLatenciesCountFromWhenTheyWereDue(t *testing.T) {
	const stall = 300 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with its connection
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buffer := make([]byte, 4096)
		for stalled := false; ; {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			if n >= 100 && !stalled {
				stalled = true
				time.Sleep(stall)
			}
			if _, err := c.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	times, err := Latencies(t.Context(), Plain(l.Addr().String()), 1, 100, 500*time.Millisecond)
	if err != nil || len(times) != 50 {
		t.Fatalf("%d times, %v", len(times), err)
	}
	late := 0
	for _, d := range times {
		if d > stall/3 {
			late++
		}
	}
	// 30 were due within the stall; those of its last third were late by less.
	if late < 15 {
		t.Errorf("%d requests were late: %v", late, times)
	}
}
