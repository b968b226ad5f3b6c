package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"argosy/e2e/stack"
	"argosy/internal/backoff"
)

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

// config writes the configuration of an agent with a listener for each service. Naming is its table and its namers.
func (b *fleet) config(name, naming string) (path string, err error) {
	var text strings.Builder
	text.WriteString("admin { address = \"127.0.0.1:0\" }\nlog { level = \"warn\" }\n" + naming)
	for i := range b.services {
		port := 0
		if i < probes {
			port = b.ports[i]
		}
		fmt.Fprintf(&text, "listener \"l%d\" {\n  address     = \"127.0.0.1:%d\"\n  destination = \"/svc/%s\"\n}\n", i, port, serviceName(i))
	}
	path = b.stack.Path(name + ".hcl")
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}

// compare starts an agent that has the same listeners and no Consul, for the memory that it takes.
func (b *fleet) compare(ctx context.Context) error {
	fmt.Fprintln(b.progress, "  measuring an agent without Consul")
	for range probes {
		b.ports = append(b.ports, b.stack.Port())
	}
	var naming strings.Builder
	naming.WriteString("dtab { static = \"/svc => /#/static\" }\nnamer \"static\" {\n  services = {\n")
	for i := range b.services {
		fmt.Fprintf(&naming, "    %s = [\"127.0.0.1:1000\"]\n", serviceName(i))
	}
	naming.WriteString("  }\n}\n")
	path, err := b.config("static", naming.String())
	if err != nil {
		return err
	}
	agent, err := b.stack.Go("static", b.binary, []string{"agent", "-config", path})
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := stack.Eventually(starting, 50*time.Millisecond, func(context.Context) error {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", b.ports[0]), time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		return fmt.Errorf("an agent without Consul: %w\n%s", err, agent.Output())
	}
	if err := backoff.Sleep(ctx, min(10*time.Second, b.settings.rest)); err != nil {
		return err
	}
	if b.without, err = memory(agent.Pid()); err != nil {
		return err
	}
	b.add("memory of an agent without Consul", "MiB", "resident; the same listeners, static services", b.without)
	return agent.Stop(20 * time.Second)
}

// start starts the agent.
func (b *fleet) start(ctx context.Context) error {
	var err error
	if b.front, err = newFront(b.stack.Consul.Addr); err != nil {
		return err
	}
	path, err := b.config("agent", fmt.Sprintf(
		"consul { address = %q }\ndtab { static = \"/svc => /#/io.l5d.consul/dc1\" }\nnamer \"io.l5d.consul\" {}\n", b.front.addr))
	if err != nil {
		return err
	}
	b.began = time.Now()
	b.agent, err = b.stack.Go("agent", b.binary, []string{"agent", "-config", path})
	return err
}
