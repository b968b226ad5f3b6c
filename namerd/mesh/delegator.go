package mesh

import (
	"context"

	"google.golang.org/grpc"

	"argosy/namerd/mesh/meshpb"
	"argosy/namerd/store"
)

// delegator shows tables, and how names are delegated.
type delegator struct {
	*Server
	meshpb.UnimplementedDelegatorServer
}

func (s delegator) GetDtab(ctx context.Context, r *meshpb.DtabReq) (*meshpb.DtabRsp, error) {
	ns, err := namespace(r.GetRoot(), true)
	if err != nil {
		return nil, err
	}
	table, release := s.names.Table(ns)
	defer release()
	wait, cancel := s.within(ctx, s.limits.known)
	defer cancel()
	o, ok := first(wait, table, func(o store.Observation) bool { return o.Known || o.Err != nil })
	if !ok {
		return nil, s.notKnown(ctx, "the table")
	}
	if !o.Known {
		return nil, internal(o.Err)
	}
	return dtabAnswer(o)
}

// StreamDtab is silent while the store is in trouble: what was sent last stands.
func (s delegator) StreamDtab(r *meshpb.DtabReq, stream grpc.ServerStreamingServer[meshpb.DtabRsp]) error {
	ns, err := namespace(r.GetRoot(), true)
	if err != nil {
		return err
	}
	table, release := s.names.Table(ns)
	defer release()
	return follow(s.Server, stream, table, sameTable, func(o store.Observation) (*meshpb.DtabRsp, error) {
		if !o.Known {
			return nil, nil
		}
		return dtabAnswer(o)
	})
}

func dtabAnswer(o store.Observation) (*meshpb.DtabRsp, error) {
	if !o.Exists {
		return nil, errNoTable
	}
	return &meshpb.DtabRsp{Dtab: &meshpb.VersionedDtab{
		Version: &meshpb.VersionedDtab_Version{Id: []byte(o.Entry.Version)},
		Dtab:    toTable(o.Entry.Dtab),
	}}, nil
}

// sameTable tells whether two observations are the same to somebody who is not told of trouble.
func sameTable(a, b store.Observation) bool {
	a.Err, b.Err = nil, nil
	return a.Equal(b)
}

func (s delegator) GetDelegateTree(ctx context.Context, r *meshpb.DelegateTreeReq) (*meshpb.DelegateTreeRsp, error) {
	ns, err := namespace(r.GetRoot(), r.GetTree() != nil)
	if err != nil {
		return nil, err
	}
	tree, err := treeOf(r.GetTree())
	if err != nil {
		return nil, err
	}
	local, err := tableOf(r.GetDtab())
	if err != nil {
		return nil, err
	}
	wait, cancel := s.within(ctx, s.limits.delegate)
	defer cancel()
	x, err := s.names.Explain(wait, ns, local, tree)
	switch {
	case ctx.Err() != nil || s.stopping.Err() != nil:
		return nil, s.ended(ctx)
	case err != nil:
		return nil, internal(err)
	}
	t, err := delegateTree(x)
	if err != nil {
		return nil, internal(err)
	}
	return &meshpb.DelegateTreeRsp{Tree: t}, nil
}

// StreamDelegateTree sends one tree and ends, as Namerd does.
func (s delegator) StreamDelegateTree(r *meshpb.DelegateTreeReq, stream grpc.ServerStreamingServer[meshpb.DelegateTreeRsp]) error {
	answer, err := s.GetDelegateTree(stream.Context(), r)
	if err != nil {
		return err
	}
	return stream.Send(answer)
}
