//go:build servers

package e2e

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"argosy/e2e/stack"
	"argosy/namerd/mesh/meshpb"
)

func meshPath(elems ...string) *meshpb.Path {
	p := &meshpb.Path{}
	for _, e := range elems {
		p.Elems = append(p.Elems, []byte(e))
	}
	return p
}

// next is the next message of a stream.
func next[M any](t *testing.T, stream grpc.ServerStreamingClient[M]) *M {
	t.Helper()
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Linkerd's streams follow Consul: the table in its keys, and the instances in its catalog.
func TestLinkerdFollowsConsul(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	register(t, s, "web1", "web", "127.0.0.1:7001", nil)
	register(t, s, "web2", "web", "127.0.0.1:7002", nil)
	register(t, s, "other1", "other", "127.0.0.1:7003", nil)
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local # by hand")

	http, mesh, file := s.Addr(), s.Addr(), s.Path("namerd.hcl")
	writeFile(t, file, fmt.Sprintf(`
http { address = %q }
mesh { address = %q }
consul { address = %q }
store "consul" {}
namer "io.l5d.consul" {}
`, http, mesh, s.Consul.Addr))
	p, err := s.Go("namerd", stack.Binary(t), []string{"namerd", "-config", file})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(mesh, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	trees, err := meshpb.NewInterpreterClient(conn).StreamBoundTree(ctx, &meshpb.BindReq{Root: meshPath("default"), Name: meshPath("svc", "web")})
	if err != nil {
		t.Fatal(err)
	}
	id := next(t, trees).GetTree().GetLeaf().GetId()
	replicas, err := meshpb.NewResolverClient(conn).StreamReplicas(ctx, &meshpb.ReplicasReq{Id: id})
	if err != nil {
		t.Fatal(err)
	}
	ports := func() (ports []int32) {
		for {
			r := next(t, replicas)
			if r.GetPending() != nil {
				continue
			}
			for _, e := range r.GetBound().GetEndpoints() {
				if e.InetAf == nil || e.Meta.GetNodeName() == "" {
					t.Errorf("endpoint %v", e)
				}
				ports = append(ports, e.GetPort())
			}
			slices.Sort(ports)
			return ports
		}
	}
	if got := ports(); !slices.Equal(got, []int32{7001, 7002}) {
		t.Fatal(got)
	}

	began := time.Now()
	if err := s.Consul.Put(ctx, "/v1/agent/service/deregister/web1", nil); err != nil {
		t.Fatal(err)
	}
	if got := ports(); !slices.Equal(got, []int32{7002}) {
		t.Error(got)
	}
	t.Logf("an instance is gone after %s", time.Since(began))
	began = time.Now()
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local ; /svc/web => 0*/#/io.l5d.consul/.local/web & 3*/#/io.l5d.consul/.local/other")
	for { // a branch that is not known yet is left out
		union := next(t, trees).GetTree().GetUnion().GetTrees()
		if len(union) == 2 && union[0].Weight != nil && union[0].GetWeight() == 0 && union[1].GetWeight() == 3 {
			break
		}
	}
	t.Logf("the other table is there after %s, consul's commands included", time.Since(began))

	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := trees.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("stopped: %v", err)
	}
	if code, err := p.Wait(ctx); err != nil || code != 0 {
		t.Errorf("exit %d, %v\n%s", code, err, p.Output())
	}
}
