package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"argosy/bench/proxies"
	"argosy/e2e/stack"
	"argosy/internal/backoff"
)

const (
	// probes is how many of the services are real, so that it can be seen where a connection goes.
	probes = 10
	// changesEach is how many services are changed to measure one change; changesRate how many of them in a second.
	changesEach = 100
	changesRate = 20
	// longestWait is how long a change may take to be seen, and longestSeeing how long all of them are looked for.
	longestWait   = 90 * time.Second
	longestSeeing = 2 * time.Minute
)

// followServices starts Consul with many services, and an agent with a listener for each of them.
func followServices(ctx context.Context, s settings) (figures []figure, err error) {
	// A listener each, the connections to Consul, and what comes through them.
	if err := needDescriptors(s.services+1000, "services"); err != nil {
		return nil, err
	}
	binary, err := stack.Build(ctx, "./cmd/argosy")
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(s.progress, "  starting Consul")
	st, err := stack.Start(ctx, stack.Options{Consul: true, Progress: s.progress})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	b := &fleet{settings: s, stack: st, binary: binary}
	defer b.close()
	for _, step := range []func(context.Context) error{b.register, b.compare, b.start, b.know, b.rest, b.change, b.see} {
		if err := step(ctx); err != nil {
			return b.figures, err
		}
	}
	return b.figures, nil
}

// fleet is what followServices measures with.
type fleet struct {
	settings
	stack   *stack.Stack
	binary  string
	front   *front
	agent   *stack.Proc
	began   time.Time
	idle    float64 // CPU at rest, of a core
	without float64 // memory of an agent without Consul
	targets [2]*answerer
	ports   []int // of the listeners of the probes
	states  []int // which instance each service has
	figures []figure
}

func (b *fleet) close() {
	for _, t := range b.targets {
		if t != nil {
			t.close()
		}
	}
	if b.agent != nil {
		if err := b.agent.Stop(10 * time.Second); err != nil {
			fmt.Fprintf(b.progress, "  %v\n", err)
		}
	}
	if b.front != nil {
		b.front.close()
	}
}

func (b *fleet) add(name, unit, note string, values ...float64) {
	b.figures = append(b.figures, figure{name, unit, values, note})
}

// know waits until Consul has told the agent of all services.
func (b *fleet) know(ctx context.Context) error {
	fmt.Fprintln(b.progress, "  waiting for the agent to know them")
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := stack.Eventually(ctx, 20*time.Millisecond, func(context.Context) error {
		select {
		case <-b.agent.Done():
			cancel()
			return fmt.Errorf("the agent has ended:\n%s", b.agent.Output())
		default:
		}
		if _, _, known := b.front.counts(); known < b.services {
			return fmt.Errorf("the agent knows %d of %d services", known, b.services)
		}
		return nil
	}); err != nil {
		return err
	}
	b.add("until all are known", "s", fmt.Sprintf("%d services, a listener each", b.services), time.Since(b.began).Seconds())
	return nil
}

// rest looks at what the agent does when nothing happens.
func (b *fleet) rest(ctx context.Context) error {
	fmt.Fprintf(b.progress, "  looking at the agent at rest for %v\n", b.settings.rest)
	if err := backoff.Sleep(ctx, min(10*time.Second, b.settings.rest)); err != nil { // for what comes after the start
		return err
	}
	const windows = 6
	var requests, failures, busy, resident []float64
	for range windows {
		requests0, errors0, _ := b.front.counts()
		used0, err := cpu(b.agent.Pid())
		if err != nil {
			return err
		}
		began := time.Now()
		if err := backoff.Sleep(ctx, b.settings.rest/windows); err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		requests1, errors1, _ := b.front.counts()
		used1, err := cpu(b.agent.Pid())
		if err != nil {
			return err
		}
		rss, err := memory(b.agent.Pid())
		if err != nil {
			return err
		}
		requests = append(requests, float64(requests1-requests0)/took)
		failures = append(failures, float64(errors1-errors0)/took)
		busy = append(busy, (used1-used0).Seconds()/took*100)
		resident = append(resident, rss)
	}
	window := fmt.Sprintf("windows of %v", b.settings.rest/windows)
	_, middle, _ := proxies.Spread(busy)
	b.idle = middle / 100
	b.add("memory of the agent", "MiB", "resident", resident...)
	_, middle, _ = proxies.Spread(resident)
	b.add("memory per service in Consul", "KiB", "the difference, by services", (middle-b.without)*1024/float64(b.services))
	b.add("requests to Consul at rest", "/s", window, requests...)
	b.add("refused requests at rest", "/s", window, failures...)
	b.add("CPU of the agent at rest", "% of a core", window, busy...)
	return nil
}

// change measures what a change in the catalog costs the agent.
func (b *fleet) change(ctx context.Context) error {
	fmt.Fprintf(b.progress, "  changing %d services a second\n", changesRate)
	ticker := time.NewTicker(time.Second / changesRate)
	defer ticker.Stop()
	var each, asked []float64
	next := 0
	for range b.runs {
		used0, err := cpu(b.agent.Pid())
		if err != nil {
			return err
		}
		requests0, _, _ := b.front.counts()
		began := time.Now()
		for range changesEach {
			next = (next + 1) % (b.services - probes)
			if err := b.replace(ctx, probes+next); err != nil {
				return err
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := backoff.Sleep(ctx, time.Second); err != nil { // for the last ones to arrive
			return err
		}
		used1, err := cpu(b.agent.Pid())
		if err != nil {
			return err
		}
		requests1, _, _ := b.front.counts()
		idle := time.Duration(b.idle * float64(time.Since(began)))
		each = append(each, float64(used1-used0-idle)/float64(changesEach)/float64(time.Millisecond))
		asked = append(asked, float64(requests1-requests0)/changesEach)
	}
	note := fmt.Sprintf("%d instances replaced, %d a second", changesEach, changesRate)
	b.add("CPU of the agent per change", "ms", note+"; without what it uses at rest", each...)
	b.add("requests to Consul per change", "", note+"; with those at rest", asked...)
	return nil
}

// see measures how long it takes until new connections go where the catalog says.
func (b *fleet) see(ctx context.Context) error {
	fmt.Fprintln(b.progress, "  timing changes")
	began := time.Now()
	var seen []time.Duration
	late := 0
	for n := range 2 * probes {
		if time.Since(began) > longestSeeing {
			break
		}
		took, err := b.seeOne(ctx, n%probes)
		if err != nil {
			return err
		}
		if seen = append(seen, took); took > longestWait {
			late++
		}
	}
	note := fmt.Sprintf("%d services with connections", probes)
	if late > 0 {
		note += fmt.Sprintf("; %d were not seen within %v", late, longestWait)
	}
	b.add("from a change to connections", "ms", note, in(time.Millisecond, seen)...)
	return nil
}

// seeOne changes a probe, and connects to it until that is seen, or for longestWait.
func (b *fleet) seeOne(ctx context.Context, i int) (time.Duration, error) {
	began := time.Now()
	if err := b.replace(ctx, i); err != nil {
		return 0, err
	}
	want := b.targets[b.states[i]%len(b.targets)].letter
	for {
		if got, err := answerOf(ctx, b.ports[i]); err == nil && got == want || time.Since(began) > longestWait {
			return time.Since(began), nil
		}
		if err := backoff.Sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
}
