package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

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
	for _, step := range []func(context.Context) error{b.register, b.start, b.know, b.rest, b.change, b.see} {
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

// register puts the services into the catalog, on a node that no Consul agent looks after, so that they stay.
func (b *fleet) register(ctx context.Context) error {
	fmt.Fprintf(b.progress, "  registering %d services\n", b.services)
	if err := b.stack.Consul.Put(ctx, "/v1/catalog/register", map[string]any{"Node": "bench", "Address": "127.0.0.1"}); err != nil {
		return err
	}
	for i := range b.targets {
		var err error
		if b.targets[i], err = newAnswerer(byte('a' + i)); err != nil {
			return err
		}
	}
	const most = 128 // operations of a transaction
	var batch []map[string]any
	for i := range b.services {
		batch = append(batch, instance(i, 0, b.portOf(i, 0))...)
		if len(batch)+2 > most || i == b.services-1 {
			if err := b.stack.Consul.Put(ctx, "/v1/txn", batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	b.states = make([]int, b.services)
	return nil
}

func serviceName(i int) string { return fmt.Sprintf("service%d", i) }

func instanceID(i, n int) string { return fmt.Sprintf("%s-%d", serviceName(i), n) }

// instance makes the operations that register the nth instance of a service, with a check that passes.
func instance(i, n, port int) []map[string]any {
	id := instanceID(i, n)
	return []map[string]any{
		{"Service": map[string]any{"Verb": "set", "Node": "bench", "Service": map[string]any{
			"ID": id, "Service": serviceName(i), "Address": "127.0.0.1", "Port": port,
		}}},
		{"Check": map[string]any{"Verb": "set", "Check": map[string]any{
			"Node": "bench", "CheckID": id, "Name": "alive", "Status": "passing", "ServiceID": id,
		}}},
	}
}

// portOf is the port of a service's nth instance: those of the first services have somebody who answers.
func (b *fleet) portOf(i, n int) int {
	if i < probes {
		return b.targets[n%len(b.targets)].port
	}
	return 1000 + n%10_000
}

// replace puts another instance in the place of the one that a service has, in one transaction. Consul may be busy for
// a moment.
func (b *fleet) replace(ctx context.Context, i int) error {
	n := b.states[i] + 1
	change := append(instance(i, n, b.portOf(i, n)), map[string]any{"Service": map[string]any{
		"Verb": "delete", "Node": "bench", "Service": map[string]any{"ID": instanceID(i, n-1), "Service": serviceName(i)},
	}})
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := stack.Eventually(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		return b.stack.Consul.Put(ctx, "/v1/txn", change)
	})
	if err == nil {
		b.states[i] = n
	}
	return err
}

// start starts the agent.
func (b *fleet) start(ctx context.Context) error {
	var err error
	if b.front, err = newFront(b.stack.Consul.Addr); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "admin { address = \"127.0.0.1:0\" }\nconsul { address = %q }\nlog { level = \"warn\" }\n", b.front.addr)
	text.WriteString("dtab { static = \"/svc => /#/io.l5d.consul/dc1\" }\nnamer \"io.l5d.consul\" {}\n")
	for i := range b.services {
		port := 0
		if i < probes {
			port = b.stack.Port()
			b.ports = append(b.ports, port)
		}
		fmt.Fprintf(&text, "listener \"l%d\" {\n  address     = \"127.0.0.1:%d\"\n  destination = \"/svc/%s\"\n}\n", i, port, serviceName(i))
	}
	config := b.stack.Path("agent.hcl")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		return err
	}
	b.began = time.Now()
	b.agent, err = b.stack.Go("agent", b.binary, []string{"agent", "-config", config})
	return err
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
	_, middle, _ := spread(busy)
	b.idle = middle / 100
	b.add("memory of the agent", "MiB", "resident", resident...)
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
