package mesh

import (
	"net/netip"

	"google.golang.org/protobuf/proto"

	"argosy/namer"
	"argosy/namerd/mesh/meshpb"
	"argosy/namerd/wire"
)

// Keys of an endpoint's metadata that mean something to Linkerd.
const (
	metaWeight = "endpoint_addr_weight"
	metaNode   = "nodeName" // namer.Endpoint.Meta has it as "node"
	localNode  = "node"
)

func failedReplicas(why string) *meshpb.Replicas {
	return &meshpb.Replicas{Result: &meshpb.Replicas_Failed_{Failed: &meshpb.Replicas_Failed{Message: proto.String(valid(why))}}}
}

// replicas is the state of a concrete name's endpoints.
func replicas(a namer.Addr) *meshpb.Replicas {
	switch a.Status {
	case namer.Pending:
		return &meshpb.Replicas{Result: &meshpb.Replicas_Pending_{Pending: &meshpb.Replicas_Pending{}}}
	case namer.Neg:
		return &meshpb.Replicas{Result: &meshpb.Replicas_Neg_{Neg: &meshpb.Replicas_Neg{}}}
	case namer.Failed:
		if a.Err == nil {
			return failedReplicas("unknown")
		}
		return failedReplicas(a.Err.Error())
	}
	bound := &meshpb.Replicas_Bound{Metadata: texts(a.Meta)}
	for _, e := range weighty(a.Endpoints) {
		if p := endpoint(e); p != nil {
			bound.Endpoints = append(bound.Endpoints, p)
		}
	}
	return &meshpb.Replicas{Result: &meshpb.Replicas_Bound_{Bound: bound}}
}

// weighty leaves out the endpoints of weight zero where others have more. Linkerd does not read weights off this
// interface and takes all endpoints for equals: this much of what is meant can be had.
func weighty(all []namer.Endpoint) []namer.Endpoint {
	some := make([]namer.Endpoint, 0, len(all))
	for _, e := range all {
		if e.Weight > 0 {
			some = append(some, e)
		}
	}
	if len(some) == 0 {
		return all
	}
	return some
}

// endpoint is nil for what is no IP address, a unix socket for one: there is no word for it.
func endpoint(e namer.Endpoint) *meshpb.Endpoint {
	at, err := netip.ParseAddrPort(e.Addr)
	if err != nil || at.Addr().Zone() != "" { // no reader knows our interfaces
		return nil
	}
	ip, family := at.Addr().Unmap(), meshpb.Endpoint_INET6
	if ip.Is4() {
		family = meshpb.Endpoint_INET4
	}
	p := &meshpb.Endpoint{
		InetAf:   family.Enum(),
		Address:  ip.AsSlice(),
		Port:     proto.Int32(int32(at.Port())),
		Meta:     &meshpb.Endpoint_Meta{},
		Metadata: texts(e.Meta),
	}
	if node, ok := p.Metadata[localNode]; ok {
		delete(p.Metadata, localNode)
		p.Metadata[metaNode] = node
		p.Meta.NodeName = proto.String(node)
	}
	delete(p.Metadata, metaWeight)
	if weight, err := wire.Double(e.Weight).MarshalJSON(); err == nil && e.Weight != 1 {
		p.Metadata[metaWeight] = string(weight)
	}
	return p
}

// texts is a copy that may go into a message.
func texts(m map[string]string) map[string]string {
	c := make(map[string]string, len(m)+1)
	for k, v := range m {
		c[valid(k)] = valid(v)
	}
	return c
}
