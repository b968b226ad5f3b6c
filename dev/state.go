package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"argosy/scheduler/law"
	"argosy/scheduler/target/process"
)

// adminPort is the label of the agents' admin port.
const adminPort = "admin"

// Dir returns the scratch folder.
func (e *Env) Dir() string { return e.dir }

// CertDir holds the development CA's certificate in ca.pem, and each service's own.
func (e *Env) CertDir() string { return filepath.Join(e.dir, certDir) }

// NamerdURL is the base URL of the control API.
func (e *Env) NamerdURL() string { return "http://" + e.namerd }

// ProxyAddress is the address that the agents of a proxy share.
func (e *Env) ProxyAddress(name string) string { return e.addresses[name] }

// Instances returns the running instances of a service or a proxy.
func (e *Env) Instances(name string) []process.Instance {
	if g := e.groups[name]; g != nil {
		return g.Instances()
	}
	return nil
}

// Wanted returns how many instances of a service or a proxy are to run.
func (e *Env) Wanted(name string) int {
	if g := e.groups[name]; g != nil {
		return g.Count()
	}
	return 0
}

// Decision returns what the scheduler made of its last look at a service or a proxy; not: it has not looked yet, or there
// is no policy.
func (e *Env) Decision(name string) (law.Decision, bool) { return e.scaling.decision(name) }

// SchedulerURL is where the scheduler of a service or a proxy serves /v1/decisions and /metrics; empty without a policy.
func (e *Env) SchedulerURL(ctx context.Context, name string) string {
	if a := e.scaling.address(ctx, name); a != "" {
		return "http://" + a
	}
	return ""
}

// Address is where an instance can be reached under a port's label.
func Address(i process.Instance, label string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(i.Ports[label]))
}

// AdminAddress is where an agent serves /metrics and /health.
func AdminAddress(i process.Instance) string { return Address(i, adminPort) }

// Ready waits until namerd answers, all services that have ports accept connections, and all agents say that they can
// serve. When ctx ends before that, the error tells what is missing and what its process said last.
func (e *Env) Ready(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	var group string
	var err error
	for {
		g, missing := e.notReady(ctx, client)
		if missing == nil {
			return nil
		}
		if err == nil || ctx.Err() == nil { // else it tells only that the time was over
			group, err = g, missing
		}
		select {
		case <-ctx.Done():
			if last := e.tails[group].String(); last != "" {
				err = fmt.Errorf("%w; it said last:\n%s", err, last)
			}
			return fmt.Errorf("%s is not ready: %w", group, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (e *Env) notReady(ctx context.Context, client *http.Client) (group string, err error) {
	if err := answers(ctx, client, e.NamerdURL()+"/api/1/dtabs/"+Namespace); err != nil {
		return namerdGroup, err
	}
	for _, s := range e.config.Services {
		running, wanted := len(e.Instances(s.Name)), e.Wanted(s.Name)
		if len(s.Ports) > 0 {
			running = e.catalog.listed(s.Name)
		}
		if running < wanted {
			return s.Name, fmt.Errorf("%d of %d instances accept connections", running, wanted)
		}
	}
	for _, p := range e.config.Proxies {
		all := e.Instances(p.Name)
		if len(all) < e.Wanted(p.Name) {
			return p.Name, fmt.Errorf("%d of %d agents run", len(all), e.Wanted(p.Name))
		}
		for _, i := range all {
			if err := answers(ctx, client, "http://"+AdminAddress(i)+"/health"); err != nil {
				return p.Name, fmt.Errorf("agent %d: %w", i.Index, err)
			}
		}
	}
	return "", nil
}

func answers(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return errors.New(strings.TrimSpace(res.Status + ": " + string(why)))
	}
	return nil
}

// tail keeps the last lines that a group has written, to tell why it does not get ready.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 15

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

func (t *tail) String() string {
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
