package mesh

import (
	"context"

	"google.golang.org/grpc"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namerd/mesh/meshpb"
)

// interpreter binds names.
type interpreter struct {
	*Server
	meshpb.UnimplementedInterpreterServer
}

func (s interpreter) GetBoundTree(ctx context.Context, r *meshpb.BindReq) (*meshpb.BoundTreeRsp, error) {
	wait, cancel := s.within(ctx, s.limits.known)
	defer cancel()
	bound, err := s.bind(wait, r)
	if err != nil {
		return nil, err
	}
	b, ok := first(wait, bound, func(b namer.Binding) bool { return b.Status != namer.Pending })
	switch {
	case !ok:
		return nil, s.notKnown(ctx, "the name")
	case b.Status == namer.Failed:
		return nil, internal(b.Err)
	}
	return boundTree(b), nil
}

func (s interpreter) StreamBoundTree(r *meshpb.BindReq, stream grpc.ServerStreamingServer[meshpb.BoundTreeRsp]) error {
	bound, err := s.bind(stream.Context(), r)
	if err != nil {
		return err
	}
	return follow(s.Server, stream, bound, sameTree, func(b namer.Binding) (*meshpb.BoundTreeRsp, error) {
		if b.Status != namer.OK {
			return nil, nil
		}
		return boundTree(b), nil
	})
}

// bind follows the name of a request until ctx ends.
func (s interpreter) bind(ctx context.Context, r *meshpb.BindReq) (watch.Reader[namer.Binding], error) {
	ns, err := namespace(r.GetRoot(), len(r.GetName().GetElems()) > 0)
	if err != nil {
		return nil, err
	}
	name, err := pathOf(r.GetName())
	if err != nil {
		return nil, err
	}
	local, err := tableOf(r.GetDtab())
	if err != nil {
		return nil, err
	}
	return s.names.Bind(ctx, ns, local, dtab.LeafOf(name)), nil
}

// sameTree tells whether two bindings are the same to somebody who gets no addresses with them.
func sameTree(a, b namer.Binding) bool {
	return a.Status == b.Status && dtab.EqualTrees(a.Tree, b.Tree, func(a, b namer.Bound) bool {
		return a.ID.Equal(b.ID) && a.Residual.Equal(b.Residual)
	})
}
