package mesh

import (
	"context"

	"google.golang.org/grpc"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namerd/mesh/meshpb"
)

// resolver gives the addresses of concrete names.
type resolver struct {
	*Server
	meshpb.UnimplementedResolverServer
}

// noID is the answer when nothing was asked for. It is no error.
const noID = "No ID provided"

// GetReplicas answers Pending when it takes too long: there is a word for it.
func (s resolver) GetReplicas(ctx context.Context, r *meshpb.ReplicasReq) (*meshpb.Replicas, error) {
	id, err := pathOf(r.GetId())
	if err != nil {
		return nil, err
	}
	if len(id) == 0 {
		return failedReplicas(noID), nil
	}
	wait, cancel := s.within(ctx, s.limits.known)
	defer cancel()
	addr, ok := first(wait, s.names.Addr(wait, id), func(a namer.Addr) bool { return a.Status != namer.Pending })
	if !ok && (ctx.Err() != nil || s.stopping.Err() != nil) {
		return nil, s.ended(ctx)
	}
	return replicas(addr), nil
}

func (s resolver) StreamReplicas(r *meshpb.ReplicasReq, stream grpc.ServerStreamingServer[meshpb.Replicas]) error {
	id, err := pathOf(r.GetId())
	if err != nil {
		return err
	}
	if len(id) == 0 {
		return stream.Send(failedReplicas(noID))
	}
	return s.follow(id, stream)
}

// follow sends the addresses of a concrete name.
func (s resolver) follow(id dtab.Path, stream grpc.ServerStreamingServer[meshpb.Replicas]) error {
	known := false
	return follow(s.Server, stream, s.names.Addr(stream.Context(), id), sameAddr, func(a namer.Addr) (*meshpb.Replicas, error) {
		if a.Status == namer.Pending && known { // what was sent last stands
			return nil, nil
		}
		known = a.Status != namer.Pending
		return replicas(a), nil
	})
}

// sameAddr tells whether two states are the same to somebody who is not told that they are stale.
func sameAddr(a, b namer.Addr) bool {
	a.Stale, b.Stale = false, false
	return a.Equal(b)
}
