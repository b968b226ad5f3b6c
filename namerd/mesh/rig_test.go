package mesh

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namer/manual"
	"argosy/namerd/names"
	"argosy/namerd/store"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// rig is a server with all that is behind it.
type rig struct {
	store    *store.Memory
	namer    *manual.Namer // at /#/m, names of one element
	names    *names.Names
	registry *prometheus.Registry
	server   *Server
	address  string
	stop     func() // ends the server and waits for it
}

// newRig serves the table as namespace default.
func newRig(t *testing.T, table string) *rig {
	t.Helper()
	return newLimitedRig(t, table, defaultLimits())
}

func newLimitedRig(t *testing.T, table string, limits limits) *rig {
	t.Helper()
	memory := store.NewMemory(map[string]dtab.Dtab{"default": parseTable(t, table)})
	r := newRigOn(t, memory, limits)
	r.store = memory
	return r
}

func newRigOn(t *testing.T, s store.Store, limits limits) *rig {
	t.Helper()
	r := &rig{namer: manual.New(1), registry: prometheus.NewRegistry()}
	r.names = names.New(s, namer.Options{
		Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/m"), Namer: r.namer}}, Linger: -1,
	}, nil)
	r.server = newServer(Options{Names: r.names, Registry: r.registry}, limits)
	r.run(t)
	return r
}

// run serves on a free port until the test ends.
func (r *rig) run(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.server.Run(ctx, l) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("the server does not end")
		}
		r.names.Close()
	}
	t.Cleanup(r.stop)
}

// connect makes an ordinary gRPC client.
func (r *rig) connect(t *testing.T) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(r.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (r *rig) put(t *testing.T, ns, table string) {
	t.Helper()
	if err := r.store.Put(t.Context(), ns, parseTable(t, table)); err != nil {
		t.Fatal(err)
	}
}

func parseTable(t *testing.T, text string) dtab.Dtab {
	t.Helper()
	d, err := dtab.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func parseTree(t *testing.T, text string) dtab.Tree[dtab.Path] {
	t.Helper()
	tree, err := dtab.ParseTree(text)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// within polls until ok.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}
