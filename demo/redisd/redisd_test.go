package redisd

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/demo/resp"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func connect(t *testing.T, address string) *resp.Conn {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			r := resp.NewConn(c)
			if _, ok, err := r.Do(time.Second, "GET", Marker); err == nil && ok {
				return r
			}
			r.Close()
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v", address, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The real server, where there is one, and ours must look the same to the demo.
func TestServersBehaveAlike(t *testing.T) {
	servers := map[string]string{"built in": ""}
	if path := Find(); path != "" {
		servers["redis-server"] = path
	}
	for name, path := range servers {
		t.Run(name, func(t *testing.T) {
			address := freeAddress(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				done <- Run(ctx, Options{Name: "redis7", Address: address, Server: path}, hclog.NewNullLogger())
			}()
			c := connect(t, address)
			defer c.Close()
			do := func(want string, args ...string) {
				t.Helper()
				if got, _, err := c.Do(time.Second, args...); err != nil || got != want {
					t.Errorf("%v: got %q, %v; want %q", args, got, err, want)
				}
			}
			do("redis7", "GET", Marker)
			do("OK", "SET", "k", "v", "EX", "1")
			do("v", "GET", "k")
			if _, _, err := c.Do(time.Second, "NONSENSE"); err == nil || !strings.Contains(err.Error(), "unknown command") {
				t.Errorf("got %v for a command that is none", err)
			}
			before, err := c.Info(time.Second)
			if err != nil {
				t.Fatal(err)
			}
			do("", "GET", "nothing")
			after, err := c.Info(time.Second)
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range []string{"total_commands_processed", "total_connections_received", "connected_clients"} {
				b, err1 := strconv.Atoi(before[field])
				a, err2 := strconv.Atoi(after[field])
				if err1 != nil || err2 != nil || a < b {
					t.Errorf("%s went from %q to %q", field, before[field], after[field])
				}
				if field == "total_commands_processed" && a < b+2 {
					t.Errorf("%s did not count: %d, then %d", field, b, a)
				}
			}
			deadline := time.Now().Add(5 * time.Second)
			for {
				if _, ok, err := c.Do(time.Second, "GET", "k"); err == nil && !ok {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the key did not expire")
				}
				time.Sleep(50 * time.Millisecond)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if l, err := net.Listen("tcp", address); err != nil {
				t.Errorf("the port is not free afterwards: %v", err)
			} else {
				l.Close()
			}
		})
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{"", Find()} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := Run(ctx, Options{Name: "x", Address: l.Addr().String(), Server: path}, hclog.NewNullLogger()); err == nil {
			t.Errorf("server %q: no error for an address in use", path)
		}
	}
}
