package dev

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/scheduler/target/process"
)

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestInstancesAreListedOnceTheyAcceptConnections(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	c := newCatalog(ctx, dir, hclog.NewNullLogger())
	defer c.wait()
	defer cancel()
	if err := c.add("web", "http"); err != nil {
		t.Fatal(err)
	}
	listed := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "web"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if listed() != "" {
		t.Errorf("lists %q before there is an instance", listed())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, up, _ := net.SplitHostPort(l.Addr().String())
	r, err := reserve(ctx, "127.0.0.1:0") // bound, and does not listen
	if err != nil {
		t.Fatal(err)
	}
	defer r.release()
	port := func(a string) int { _, p, _ := net.SplitHostPort(a); n, _ := net.LookupPort("tcp", p); return n }
	one := process.Instance{Index: 0, Pid: 10, Ports: map[string]int{"http": port(l.Addr().String())}}
	two := process.Instance{Index: 1, Pid: 11, Ports: map[string]int{"http": port(r.Address)}}
	c.set("web", []process.Instance{one, two})
	eventually(t, "the first is listed", func() bool { return listed() == "127.0.0.1 "+up+"\n" })
	if c.listed("web") != 1 {
		t.Errorf("%d listed", c.listed("web"))
	}
	one.Pid = 12 // restarted: it has to show itself again
	c.set("web", []process.Instance{one, two})
	eventually(t, "the first is listed again", func() bool { return listed() == "127.0.0.1 "+up+"\n" })
	c.set("web", []process.Instance{two})
	if listed() != "" {
		t.Errorf("lists %q although it is stopping", listed())
	}
}

func TestReservationLeavesRoomForTheFleetOnly(t *testing.T) {
	r, err := reserve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if l, err := net.Listen("tcp", r.Address); err == nil {
		l.Close()
		t.Error("somebody else could take the port")
	}
	again, err := reserve(t.Context(), r.Address) // an agent binds like this
	if err != nil {
		t.Fatal(err)
	}
	again.release()
	r.release()
	l, err := net.Listen("tcp", r.Address)
	if err != nil {
		t.Fatalf("the port is not free after release: %v", err)
	}
	l.Close()
}
