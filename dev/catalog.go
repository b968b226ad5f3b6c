package dev

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/scheduler/target/process"
)

// pollReady is how often an instance that does not accept connections yet is tried.
const pollReady = 30 * time.Millisecond

// catalog is the folder that the io.l5d.fs namer reads: one file for each service, one line for each instance. An
// instance is listed from when its port accepts connections until it is told to stop.
type catalog struct {
	dir string
	log hclog.Logger
	ctx context.Context // of the probes
	wg  sync.WaitGroup

	mu       sync.Mutex
	services map[string]*listing
}

type listing struct {
	port      string // label of the port that is listed; empty: not listed at all
	instances []process.Instance
	ready     map[int]int // index -> pid that has accepted a connection
	written   string
}

func newCatalog(ctx context.Context, dir string, log hclog.Logger) *catalog {
	return &catalog{dir: dir, log: log.Named("catalog"), ctx: ctx, services: map[string]*listing{}}
}

// add makes a service known, with an empty file: it exists, and nobody is there yet.
func (c *catalog) add(service, port string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.services[service] = &listing{port: port, ready: map[int]int{}, written: "none"}
	return c.write(service)
}

// set replaces the instances of a service. It is a process.Spec's OnChange.
func (c *catalog) set(service string, instances []process.Instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.services[service]
	known := l.instances
	l.instances = instances
	for _, i := range instances {
		isNew := !slices.ContainsFunc(known, func(k process.Instance) bool { return k.Index == i.Index && k.Pid == i.Pid })
		if isNew && l.port != "" && c.ctx.Err() == nil {
			c.wg.Go(func() { c.probe(service, i, i.Ports[l.port]) })
		}
	}
	if err := c.write(service); err != nil {
		c.log.Error("cannot list a service", "service", service, "error", err)
	}
}

// probe waits until the instance accepts connections, or is not there any more.
func (c *catalog) probe(service string, i process.Instance, port int) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	d := net.Dialer{Timeout: time.Second}
	for {
		conn, err := d.DialContext(c.ctx, "tcp", address)
		c.mu.Lock()
		l := c.services[service]
		there := slices.ContainsFunc(l.instances, func(k process.Instance) bool { return k.Index == i.Index && k.Pid == i.Pid })
		if err == nil && there {
			l.ready[i.Index] = i.Pid
			if err := c.write(service); err != nil {
				c.log.Error("cannot list a service", "service", service, "error", err)
			}
		}
		c.mu.Unlock()
		if err == nil {
			conn.Close()
			return
		}
		if !there {
			return
		}
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(pollReady):
		}
	}
}

// write replaces a service's file in one step if it has changed. c.mu is held.
func (c *catalog) write(service string) error {
	l := c.services[service]
	if l.port == "" {
		return nil
	}
	var b strings.Builder
	for _, i := range l.instances {
		if l.ready[i.Index] == i.Pid {
			fmt.Fprintf(&b, "127.0.0.1 %d\n", i.Ports[l.port])
		}
	}
	if b.String() == l.written {
		return nil
	}
	path := filepath.Join(c.dir, service)
	// The namer leaves out names that start with a dot.
	tmp := filepath.Join(c.dir, "."+service)
	if err := os.WriteFile(tmp, []byte(b.String()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	l.written = b.String()
	return nil
}

// listed returns how many instances of a service are listed.
func (c *catalog) listed(service string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if l := c.services[service]; l != nil {
		for _, i := range l.instances {
			if l.ready[i.Index] == i.Pid {
				n++
			}
		}
	}
	return n
}

// wait returns when all probes are over; the catalog's context has to end first.
func (c *catalog) wait() { c.wg.Wait() }
