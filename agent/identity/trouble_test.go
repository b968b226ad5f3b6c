package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// An identity that is not ready says why: whoever reads /health need not look for it in the log. The log does not say
// that something is known where nothing is.
func TestNotReadySaysWhy(t *testing.T) {
	f, client := newFakeConsul(t)
	f.down = true
	var log bytes.Buffer
	c := NewConnect(client, "web", hclog.New(&hclog.LoggerOptions{Output: &log}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	defer running.Wait()
	defer cancel()
	eventually(t, func() error {
		err := c.Ready()
		if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "no certificate from Consul yet: ") || !strings.Contains(err.Error(), "no cluster leader") {
			return fmt.Errorf("ready: %v", err)
		}
		return nil
	})
	f.change(func() { f.down = false })
	ready(t, c)
	c.trouble.mu.Lock()
	if left := c.trouble.last; len(left) > 0 {
		t.Errorf("still in trouble: %v", left)
	}
	c.trouble.mu.Unlock()
	f.change(func() { f.down = true })
	eventually(t, func() error {
		c.trouble.mu.Lock()
		defer c.trouble.mu.Unlock()
		if len(c.trouble.last) < 3 {
			return fmt.Errorf("in trouble: %v", c.trouble.last)
		}
		return nil
	})
	if err := c.Ready(); err != nil {
		t.Errorf("with all that it needs: %v", err)
	}
	cancel()
	running.Wait() // and nobody writes into log any more
	before, after, _ := strings.Cut(log.String(), "consul answers again")
	if !strings.Contains(before, "nothing is known yet") || strings.Contains(before, "stays in force") {
		t.Errorf("before the first answer: %s", before)
	}
	if !strings.Contains(after, "stays in force") || strings.Contains(after[strings.LastIndex(after, "consul answers again"):], "nothing is known yet") {
		t.Errorf("after it: %s", after)
	}
}

func TestTroubleIsCut(t *testing.T) {
	var c trouble
	c.note("leaf", errors.New(strings.Repeat("x", 1<<20)))
	if err := c.missing("it", "leaf"); len(err.Error()) > 2*longestTrouble {
		t.Errorf("%d bytes", len(err.Error()))
	}
}

// TLS to the plaintext port of Consul's servers, and plaintext to the one for TLS, are told from servers that are away.
func TestServersWrongPort(t *testing.T) {
	t.Parallel()
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	root := newRoot(t)
	plain := newFakeServers(t, nil)
	secure := newFakeServers(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{root.cert.Raw}, PrivateKey: root.key}}})
	for _, c := range []struct {
		address string
		tls     *tls.Config
		want    string
	}{
		{plain.address, &tls.Config{InsecureSkipVerify: true}, "the port speaks plaintext, as grpc (8502) does"},
		{secure.address, nil, "the port wants TLS, as grpc_tls (8503) does"},
	} {
		web := NewConnect(client, "web", testLogger(t), nil)
		use(web, ServersOptions{Address: c.address, TLS: c.tls, Token: func() string { return "" }, Datacenter: "dc1"})
		start(t, web)
		eventually(t, func() error {
			if err := web.Ready(); err == nil || !strings.Contains(err.Error(), c.want) {
				return fmt.Errorf("want %q: %v", c.want, err)
			}
			return nil
		})
	}
}
