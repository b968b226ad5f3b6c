package load

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuantiles(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want := q * float64(time.Second)
		got := float64(h.Quantile(q))
		if got < want || got > want*1.05 {
			t.Errorf("quantile %v is %v, want %v", q, time.Duration(got), time.Duration(want))
		}
	}
	older := h
	h.add(10 * time.Second)
	if d := h.Sub(older); d.Quantile(0.5) < 10*time.Second {
		t.Errorf("difference has median %v", d.Quantile(0.5))
	}
	h.add(0)
	h.add(time.Hour)
}

// With a clock of its own the loop must be exact: so many a second, whatever the answers take.
func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(time.Minute, "http://test/")
		var asked atomic.Int64
		g.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			time.Sleep(3 * time.Second)
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		g.SetRate(ctx, 100)
		time.Sleep(2*time.Second - time.Millisecond)
		if n := asked.Load(); n != 200 {
			t.Errorf("asked %d times in 2 s at 100/s", n)
		}
		g.SetRate(ctx, 10)
		time.Sleep(1*time.Second - time.Millisecond)
		if n := asked.Load(); n != 210 {
			t.Errorf("asked %d times, want 10 more", n)
		}
		g.SetRate(ctx, 0)
		time.Sleep(time.Minute)
		if n := asked.Load(); n != 210 {
			t.Errorf("asked %d times although paused", n)
		}
		cancel()
		<-done
		s := g.Stats()
		if s.OK != 210 || s.Failed != 0 || s.Sent != 210 || s.Waiting != 0 {
			t.Errorf("got %d ok, %d failed of %d, %d waiting", s.OK, s.Failed, s.Sent, s.Waiting)
		}
		if p := s.Latency.Quantile(0.5); math.Abs(p.Seconds()-3) > 0.2 {
			t.Errorf("median is %v, want 3s", p)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestFailuresAreCounted(t *testing.T) {
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "broken", http.StatusBadGateway)
	}))
	defer bad.Close()
	good := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer good.Close()
	gone := httptest.NewServer(nil)
	gone.Close()

	g := New(5*time.Second, bad.URL, good.URL, gone.URL)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	before := g.Stats()
	g.SetRate(ctx, 300)
	for g.Stats().Sent < 30 {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	<-done
	s := g.Stats().Sub(before)
	if s.OK+s.Failed != s.Sent || s.OK < 9 || s.Failed < 2*s.OK-3 {
		t.Errorf("got %d ok, %d failed of %d", s.OK, s.Failed, s.Sent)
	}
	if s.Reasons["502 Bad Gateway: broken\n"] == 0 || len(s.Reasons) < 2 {
		t.Errorf("reasons are %v", s.Reasons)
	}
}
