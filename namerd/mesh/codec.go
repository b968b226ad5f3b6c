package mesh

import (
	"context"

	"google.golang.org/protobuf/proto"

	"argosy/dtab"
	"argosy/namerd/mesh/meshpb"
)

// codec reads and prints tables and paths. What is left out of a request is left out of the answer, or is nothing.
type codec struct {
	meshpb.UnimplementedCodecServer
}

func (codec) ReadDtab(_ context.Context, r *meshpb.ReadDtabReq) (*meshpb.ReadDtabRsp, error) {
	d, err := dtab.Parse(r.GetText())
	if err != nil {
		return nil, malformed("%v", err)
	}
	return &meshpb.ReadDtabRsp{Dtab: toTable(d)}, nil
}

func (codec) ShowDtab(_ context.Context, r *meshpb.ShowDtabReq) (*meshpb.ShowDtabRsp, error) {
	if r.GetDtab() == nil {
		return &meshpb.ShowDtabRsp{}, nil
	}
	d, err := tableOf(r.GetDtab())
	if err != nil {
		return nil, err
	}
	return &meshpb.ShowDtabRsp{Text: proto.String(d.String())}, nil
}

func (codec) ReadPath(_ context.Context, r *meshpb.ReadPathReq) (*meshpb.ReadPathRsp, error) {
	if r.Text == nil {
		return &meshpb.ReadPathRsp{Path: toPath(nil)}, nil
	}
	p, err := dtab.ParsePath(r.GetText())
	if err != nil {
		return nil, malformed("%v", err)
	}
	return &meshpb.ReadPathRsp{Path: toPath(p)}, nil
}

func (codec) ShowPath(_ context.Context, r *meshpb.ShowPathReq) (*meshpb.ShowPathRsp, error) {
	if r.GetPath() == nil {
		return &meshpb.ShowPathRsp{}, nil
	}
	p, err := pathOf(r.GetPath())
	if err != nil {
		return nil, err
	}
	return &meshpb.ShowPathRsp{Text: proto.String(p.String())}, nil
}
