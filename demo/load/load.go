// Package load sends HTTP requests at a given rate, whether or not the answers keep up (an open loop), so that a slow
// answer makes the measured latency worse instead of the load smaller. Latency counts from when a request was due.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxWaiting bounds the requests under way; those due beyond it count as failed.
const maxWaiting = 2000

// Generator sends requests to its targets in turn. Its methods may be called from any goroutine.
type Generator struct {
	client *http.Client
	rate   chan float64

	mu      sync.Mutex
	targets []string
	stats   Stats
}

// Stats count from the start.
type Stats struct {
	Rate    float64 // requests a second that are asked for now
	Sent    int64
	OK      int64
	Failed  int64
	Waiting int64 // sent and not answered yet
	Latency Histogram
	Reasons map[string]int64 // why requests failed
}

// Sub returns what happened since older; rate and waiting stay those of s.
func (s Stats) Sub(older Stats) Stats {
	s.Sent -= older.Sent
	s.OK -= older.OK
	s.Failed -= older.Failed
	s.Latency = s.Latency.Sub(older.Latency)
	reasons := map[string]int64{}
	for k, v := range s.Reasons {
		if v -= older.Reasons[k]; v > 0 {
			reasons[k] = v
		}
	}
	s.Reasons = reasons
	return s
}

// New makes a generator for target URLs; timeout is one request's.
func New(timeout time.Duration, targets ...string) *Generator {
	return &Generator{
		client: &http.Client{
			Timeout: timeout,
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
				MaxIdleConnsPerHost: maxWaiting,
				IdleConnTimeout:     10 * time.Second,
			},
		},
		rate:    make(chan float64),
		targets: targets,
		stats:   Stats{Reasons: map[string]int64{}},
	}
}

// SetTargets replaces the targets.
func (g *Generator) SetTargets(targets ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.targets = targets
}

// SetRate changes the rate in requests a second; 0 pauses. It returns when Run has taken it over, or ctx has ended.
func (g *Generator) SetRate(ctx context.Context, perSecond float64) {
	select {
	case g.rate <- perSecond:
	case <-ctx.Done():
	}
}

// Stats returns the counts so far.
func (g *Generator) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Reasons = make(map[string]int64, len(g.stats.Reasons))
	for k, v := range g.stats.Reasons {
		s.Reasons[k] = v
	}
	return s
}

// Run sends until ctx ends, then waits for the answers still due. Requests under way then are let finish.
func (g *Generator) Run(ctx context.Context) {
	var sending sync.WaitGroup
	defer g.client.CloseIdleConnections()
	defer sending.Wait()
	requests := context.WithoutCancel(ctx)

	var rate float64
	var due time.Time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for turn := 0; ; {
		timer.Stop()
		if rate > 0 {
			timer.Reset(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return
		case rate = <-g.rate:
			due = time.Now()
			g.mu.Lock()
			g.stats.Rate = rate
			g.mu.Unlock()
		case <-timer.C:
			now := time.Now()
			step := time.Duration(float64(time.Second) / rate)
			for ; !due.After(now); due = due.Add(step) {
				if target, ok := g.begin(turn); ok {
					at := due
					sending.Go(func() { g.send(requests, target, at) })
				}
				turn++
			}
		}
	}
}

// begin counts a request as sent and says where it goes; not ok: too many are waiting.
func (g *Generator) begin(turn int) (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Sent++
	switch {
	case len(g.targets) == 0:
		g.fail("no target")
	case g.stats.Waiting >= maxWaiting:
		g.fail(fmt.Sprintf("%d requests are waiting already", maxWaiting))
	default:
		g.stats.Waiting++
		return g.targets[turn%len(g.targets)], true
	}
	return "", false
}

// fail counts a failure. g.mu is held.
func (g *Generator) fail(reason string) {
	g.stats.Failed++
	if len(g.stats.Reasons) < 20 || g.stats.Reasons[reason] > 0 {
		g.stats.Reasons[reason]++
	}
}

func (g *Generator) send(ctx context.Context, target string, due time.Time) {
	err := g.get(ctx, target)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Waiting--
	if err != nil {
		g.fail(err.Error())
		return
	}
	g.stats.OK++
	g.stats.Latency.add(time.Since(due))
}

func (g *Generator) get(ctx context.Context, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	res, err := g.client.Do(req)
	if err != nil {
		return short(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return short(err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", res.Status, body)
	}
	return nil
}

// short leaves out the URL that net/http puts around its errors.
func short(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
