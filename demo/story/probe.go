package story

import (
	"context"
	"fmt"
	"sync"
	"time"

	"argosy/demo/web"
)

const (
	probers     = 2
	probePause  = 10 * time.Millisecond
	probeStays  = time.Second // without a probe at the old cluster, until they count as moved
	fewestMoved = 10          // probes at the new cluster
)

// probing opens new connections all the time, to see where they go.
type probing struct {
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	probes []web.Open
	err    error
}

func startProbing(ctx context.Context, stage Stage) *probing {
	ctx, cancel := context.WithCancel(ctx)
	p := &probing{cancel: cancel}
	for range probers {
		p.all.Go(func() {
			for ctx.Err() == nil {
				o, err := stage.Probe(ctx)
				p.add(ctx, o, err)
				select {
				case <-ctx.Done():
				case <-time.After(probePause):
				}
			}
		})
	}
	return p
}

func (p *probing) add(ctx context.Context, o web.Open, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		p.err = err
	default:
		p.probes = append(p.probes, o)
	}
}

// settled waits until all probes go to a cluster.
func (p *probing) settled(ctx context.Context, cluster string) error {
	for {
		p.mu.Lock()
		elsewhere, there := time.Time{}, 0
		for _, o := range p.probes {
			if o.Backend != cluster {
				elsewhere, there = o.Began, 0
			} else {
				there++
			}
		}
		n, err := len(p.probes), p.err
		p.mu.Unlock()
		if err != nil || there >= fewestMoved && time.Since(elsewhere) > probeStays {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("of %d new connections, %d have gone to %s since the last that did not", n, there, cluster)
		case <-time.After(pollEvery):
		}
	}
}

// stop ends the probing and returns what was seen; it may be called again. The error is that of a probe that failed.
func (p *probing) stop() ([]web.Open, error) {
	p.cancel()
	p.all.Wait()
	return p.probes, p.err
}

// arrivals tells when new connections went to redis2, after the command was started.
func arrivals(probes []web.Open, began time.Time) string {
	var first, last time.Time
	before, after := 0, 0
	for _, o := range probes {
		switch {
		case o.Began.Before(began):
			before++
		case o.Backend == Redis2:
			after++
			if first.IsZero() || o.Arrived.Before(first) {
				first = o.Arrived
			}
		default:
			after++
			if o.Began.After(last) {
				last = o.Began
			}
		}
	}
	text := fmt.Sprintf("of %d new connections since enter was pressed, the first arrived at redis2 after %s", after, seconds(first.Sub(began)))
	if last.IsZero() {
		return text + ", and all others did, too"
	}
	return text + fmt.Sprintf(", and the last one for redis1 began after %s", seconds(last.Sub(began)))
}
