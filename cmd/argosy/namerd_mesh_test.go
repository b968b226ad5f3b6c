package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"argosy/internal/devca"
	"argosy/internal/tlsfiles"
	"argosy/namerd/mesh/meshpb"
)

// meshed runs namerd with a mesh block until the test ends, and returns the addresses of its API and its mesh, and its log.
func meshed(t *testing.T, block string) (http, mesh string, log *syncBuffer, stop func()) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "namerd.hcl")
	write(t, config, `
http { address = "127.0.0.1:0" }
log { level = "debug" }
store "memory" { namespaces = { default = "/svc => /#/static" } }
namer "static" { services = { redis = ["127.0.0.1:6379", "127.0.0.1:6380"] } }
`+block)
	log = new(syncBuffer)
	ended := make(chan int, 1)
	go func() { ended <- run([]string{"namerd", "-config", config}, strings.NewReader(""), log, log) }()
	http = logged(t, log, `serving dtabs: address=(\S+:\d+)`)[1]
	mesh = logged(t, log, `serving Linkerd's mesh interface: address=(\S+:\d+)`)[1]
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		if code := <-ended; code != exitOK {
			t.Errorf("exit %d\n%s", code, log.String())
		}
	}
	t.Cleanup(stop)
	return http, mesh, log, stop
}

func elems(all ...string) *meshpb.Path {
	p := &meshpb.Path{}
	for _, e := range all {
		p.Elems = append(p.Elems, []byte(e))
	}
	return p
}

func dialMesh(t *testing.T, address string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// What is written through the API reaches Linkerd's streams, and a namerd that is stopped ends them.
func TestNamerdServesLinkerd(t *testing.T) {
	http, mesh, _, stop := meshed(t, `mesh { address = "127.0.0.1:0" }`)
	conn := dialMesh(t, mesh, insecure.NewCredentials())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	bound, err := meshpb.NewInterpreterClient(conn).StreamBoundTree(ctx, &meshpb.BindReq{Root: elems("default"), Name: elems("svc", "redis")})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := bound.Recv()
	if err != nil {
		t.Fatal(err)
	}
	id := tree.GetTree().GetLeaf().GetId()
	replicas, err := meshpb.NewResolverClient(conn).StreamReplicas(ctx, &meshpb.ReplicasReq{Id: id})
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := replicas.Recv()
	if err != nil || len(addrs.GetBound().GetEndpoints()) != 2 {
		t.Fatal(addrs, err)
	}
	if code, _, errs := call(t, "", "dtab", "update", "-addr", "http://"+http, "default", "-dtab", "/svc => !"); code != exitOK {
		t.Fatal(errs)
	}
	if tree, err = bound.Recv(); err != nil || tree.GetTree().GetFail() == nil {
		t.Error(tree, err)
	}
	stop()
	if _, err = bound.Recv(); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

func TestNamerdServesLinkerdOverTLS(t *testing.T) {
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Write(t.TempDir(), "namerd", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Write(t.TempDir(), "linkerd")
	if err != nil {
		t.Fatal(err)
	}
	_, mesh, log, _ := meshed(t, `
mesh {
  address = "127.0.0.1:0"
  tls {
    cert_file      = "`+server.Cert+`"
    key_file       = "`+server.Key+`"
    client_ca_file = "`+server.CA+`"
  }
}`)
	for _, test := range []struct {
		cert, key string
		good      bool
	}{
		{client.Cert, client.Key, true},
		{"", "", false},
	} {
		files, err := tlsfiles.New(test.cert, test.key, client.CA)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err = meshpb.NewDelegatorClient(dialMesh(t, mesh, credentials.NewTLS(files.Client("127.0.0.1")))).GetDtab(ctx, &meshpb.DtabReq{Root: elems("default")})
		cancel()
		if (err == nil) != test.good {
			t.Errorf("with %q: %v", test.cert, err)
		}
	}
	logged(t, log, `mesh: TLS handshake failed: peer=127.0.0.1:\d+ error=.*certificate`)
}

func TestNamerdNeedsItsPorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	config := filepath.Join(t.TempDir(), "namerd.hcl")
	write(t, config, `
http { address = "127.0.0.1:0" }
mesh { address = "`+taken.Addr().String()+`" }
store "memory" {}
`)
	var log syncBuffer
	if code := run([]string{"namerd", "-config", config}, strings.NewReader(""), &log, &log); code != exitFailed || !strings.Contains(log.String(), "argosy: mesh: listen tcp") {
		t.Errorf("exit %d\n%s", code, log.String())
	}
}
