package wire

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"argosy/namer"
)

// Keys of meta that mean something. All others are what a catalog tells.
const (
	metaWeight     = "endpoint_addr_weight"  // of an address, a double
	metaTreeWeight = "namer_nametree_weight" // of a set that a union led to, a double
	metaAuthority  = "authority"             // of a set: the host that requests are to name
	metaNode       = "nodeName"              // of an address; namer.Endpoint.Meta has it as "node"
	localNode      = "node"
)

// addrSet is an address set. Its keys stand in Namerd's order.
type addrSet struct {
	Type  string         `json:"type"` // bound, neg, pending or failed
	Addrs []address      `json:"addrs"`
	Meta  map[string]any `json:"meta"`
	Cause string         `json:"cause"`
}

type address struct {
	IP   string         `json:"ip"`
	Port int            `json:"port"`
	Meta map[string]any `json:"meta"`
}

// MarshalJSON writes the keys that the type has.
func (a addrSet) MarshalJSON() ([]byte, error) {
	switch a.Type {
	case "bound":
		return Encode(struct {
			Type  string         `json:"type"`
			Addrs []address      `json:"addrs"`
			Meta  map[string]any `json:"meta"`
		}{a.Type, a.Addrs, a.Meta}), nil
	case "failed":
		return Encode(struct {
			Type  string `json:"type"`
			Cause string `json:"cause"`
		}{a.Type, a.Cause}), nil
	}
	return Encode(struct {
		Type string `json:"type"`
	}{a.Type}), nil
}

// Addr writes an address set. Endpoints that are no IP addresses, unix sockets for one, are left out.
func Addr(a namer.Addr) []byte { return Encode(addrOf(a, nil)) }

// addrOf is an address set as bind shows it, with the weight of the union's branch that led to it, if one did.
func addrOf(a namer.Addr, treeWeight *float64) addrSet {
	switch a.Status {
	case namer.Neg:
		return addrSet{Type: "neg"}
	case namer.Pending:
		return addrSet{Type: "pending"}
	case namer.Failed:
		cause := "unknown"
		if a.Err != nil {
			cause = a.Err.Error()
		}
		return addrSet{Type: "failed", Cause: cause}
	}
	set := addrSet{Type: "bound", Addrs: make([]address, 0, len(a.Endpoints)), Meta: make(map[string]any, len(a.Meta))}
	for _, e := range a.Endpoints {
		if at, err := netip.ParseAddrPort(e.Addr); err == nil && at.Addr().Zone() == "" { // no reader knows our interfaces
			set.Addrs = append(set.Addrs, address{IP: at.Addr().Unmap().String(), Port: int(at.Port()), Meta: metaOf(e)})
		}
	}
	for k, v := range a.Meta {
		if k != metaTreeWeight {
			set.Meta[k] = v
		}
	}
	if host := commonAuthority(a.Endpoints); host != "" && a.Meta[metaAuthority] == "" {
		set.Meta[metaAuthority] = host
	}
	if treeWeight != nil {
		set.Meta[metaTreeWeight] = Double(*treeWeight)
	}
	return set
}

// commonAuthority is the authority that all endpoints have, or nothing. Linkerd looks for it at the set.
func commonAuthority(endpoints []namer.Endpoint) string {
	host := ""
	for i, e := range endpoints {
		if i > 0 && e.Meta[metaAuthority] != host {
			return ""
		}
		host = e.Meta[metaAuthority]
	}
	return host
}

func metaOf(e namer.Endpoint) map[string]any {
	meta := make(map[string]any, len(e.Meta)+1)
	for k, v := range e.Meta {
		if k != localNode && k != metaWeight {
			meta[k] = v
		}
	}
	if node, ok := e.Meta[localNode]; ok {
		meta[metaNode] = node
	}
	if e.Weight != 1 {
		meta[metaWeight] = Double(e.Weight)
	}
	return meta
}

// DecodeAddr reads an address set. An address that is none fails the whole: half a set would be taken for all of it.
// One that has a zone is left out.
// Meta keeps the strings; weights that are no good are 1.
func DecodeAddr(body []byte) (namer.Addr, error) {
	var set *addrSet
	if err := decode(body, "address set", &set); err != nil {
		return namer.Addr{}, err
	}
	if set == nil {
		return namer.Addr{}, errors.New("read address set: null is none")
	}
	a, _, err := set.addr()
	return a, err
}

// addr is what a set stands for, and the weight of the union's branch that led to it.
func (a addrSet) addr() (addr namer.Addr, treeWeight *float64, err error) {
	switch a.Type {
	case "neg":
		return namer.Addr{Status: namer.Neg}, nil, nil
	case "pending":
		return namer.Addr{}, nil, nil
	case "failed":
		return namer.Addr{Status: namer.Failed, Err: errors.New(a.Cause)}, nil, nil
	case "bound":
	default:
		return namer.Addr{}, nil, fmt.Errorf("read address set: unknown type %q", a.Type)
	}
	endpoints := make([]namer.Endpoint, 0, len(a.Addrs))
	for _, at := range a.Addrs {
		ip, err := netip.ParseAddr(at.IP)
		if err != nil || at.Port < 0 || at.Port > math.MaxUint16 {
			return namer.Addr{}, nil, fmt.Errorf("read address set: %q port %d is no address", at.IP, at.Port)
		}
		if ip.Zone() != "" { // an interface of the machine that wrote it
			continue
		}
		e := namer.Endpoint{Addr: netip.AddrPortFrom(ip.Unmap(), uint16(at.Port)).String(), Weight: 1, Meta: texts(at.Meta)}
		if w, ok := at.Meta[metaWeight].(float64); ok && w >= 0 && !math.IsInf(w, 0) {
			e.Weight = w
		}
		if node, ok := e.Meta[metaNode]; ok {
			delete(e.Meta, metaNode)
			e.Meta[localNode] = node
		}
		endpoints = append(endpoints, e)
	}
	if w, ok := a.Meta[metaTreeWeight].(float64); ok {
		treeWeight = &w
	}
	return namer.Addr{Status: namer.OK, Endpoints: namer.SortEndpoints(endpoints), Meta: texts(a.Meta)}, treeWeight, nil
}

// texts are the strings of meta, nil for none.
func texts(meta map[string]any) map[string]string {
	all := make(map[string]string, len(meta))
	for k, v := range meta {
		if s, ok := v.(string); ok && k != metaWeight && k != metaTreeWeight {
			all[k] = s
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
