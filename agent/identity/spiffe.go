package identity

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
)

// ID is a Connect service's SPIFFE id:
// spiffe://<trust domain>/ns/<namespace>/dc/<datacenter>/svc/<service>, with /ap/<partition> in front for partitions
// other than the default one.
type ID struct {
	TrustDomain string
	Partition   string // empty: the default one
	Namespace   string
	Datacenter  string
	Service     string
}

// defaultNamespace is the only namespace that Consul's community edition has.
const defaultNamespace = "default"

// String prints the id as certificates have it.
func (id ID) String() string { return id.url().String() }

func (id ID) url() *url.URL {
	path := "/ns/" + id.Namespace + "/dc/" + id.Datacenter + "/svc/" + id.Service
	if id.Partition != "" {
		path = "/ap/" + id.Partition + path
	}
	return &url.URL{Scheme: "spiffe", Host: id.TrustDomain, Path: path}
}

// parseID reads a service's id. The ids of Consul's own agents and gateways are none.
func parseID(u *url.URL) (ID, error) {
	wrong := func(what string) (ID, error) { return ID{}, fmt.Errorf("%s is not the id of a service: %s", u, what) }
	if u.Scheme != "spiffe" || u.Host == "" {
		return wrong("it is no SPIFFE id")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Port() != "" || u.RawPath != "" {
		return wrong("it has parts that a SPIFFE id must not have")
	}
	parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	id := ID{TrustDomain: u.Host}
	if len(parts) == 8 && parts[0] == "ap" {
		if id.Partition = parts[1]; id.Partition == defaultNamespace {
			id.Partition = ""
		}
		parts = parts[2:]
	}
	if len(parts) != 6 || parts[0] != "ns" || parts[2] != "dc" || parts[4] != "svc" {
		return wrong("its path is another one")
	}
	id.Namespace, id.Datacenter, id.Service = parts[1], parts[3], parts[5]
	if id.Namespace == "" || id.Datacenter == "" || id.Service == "" {
		return wrong("a part is empty")
	}
	return id, nil
}

// certificateID reads the one id that a certificate has.
func certificateID(c *x509.Certificate) (ID, error) {
	if len(c.URIs) != 1 {
		return ID{}, fmt.Errorf("%w: it has %d URIs, not one", ErrPeer, len(c.URIs))
	}
	id, err := parseID(c.URIs[0])
	if err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrPeer, err)
	}
	return id, nil
}
