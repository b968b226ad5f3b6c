package consul

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"argosy/internal/consulclient"
)

// errNoIndex is what an empty list means that does not say which state of the catalog it is. The servers themselves are
// in the catalog, so that the index is above 1 as soon as there is a leader.
var errNoIndex = errors.New("the answer is empty and has no index: this is not Consul, or one without a leader")

// request is what one watch asks for. Names that differ in letter case only have the same.
type request struct {
	datacenter string // empty: the agent's own
	service    string // in lower case
	tags       string // all of these, with tagSeparator between them
	filter     string
	connect    bool // the Connect-capable endpoints
	passing    bool // only instances that pass, whatever the options say
}

const tagSeparator = "\x00"

func (r request) tagList() []string {
	if r.tags == "" {
		return nil
	}
	return strings.Split(r.tags, tagSeparator)
}

// request is the one for a service with the namer's own conditions.
func (n *Namer) request(datacenter, service string, tags ...string) request {
	if datacenter == local {
		datacenter = ""
	}
	return request{
		datacenter: datacenter,
		service:    strings.ToLower(service),
		tags:       strings.Join(append(tags, n.options.Tags...), tagSeparator),
		filter:     n.options.Filter,
		connect:    n.options.Connect != ConnectNever,
	}
}

// narrowed is r for those of its instances that pass another filter, too.
func (r request) narrowed(filter string) request {
	switch {
	case r.filter == "":
		r.filter = filter
	case filter != "" && filter != r.filter:
		r.filter = "(" + r.filter + ") and (" + filter + ")"
	}
	return r
}

// answer is what came of one request.
type answer struct {
	entries []*api.ServiceEntry
	index   uint64
	cached  bool // the Consul agent has it from a time when it still reached its servers
	err     error
}

// prepare sets what all reads of the namer have in common.
func (n *Namer) prepare(q *api.QueryOptions, datacenter string) {
	q.Datacenter = datacenter
	q.AllowStale = n.options.Consistency == ConsistencyStale
	q.RequireConsistent = n.options.Consistency == ConsistencyConsistent
}

// ask does one request. It asks for the failing instances as well: only so can a service that is not there be told
// from one whose checks all fail.
func (n *Namer) ask(r request, q *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	n.prepare(q, r.datacenter)
	q.Filter, q.Near, q.UseCache = r.filter, n.options.Near, n.options.Cached
	ask := n.client.Health().ServiceMultipleTags
	if r.connect {
		ask = n.client.Health().ConnectMultipleTags
	}
	entries, meta, err := ask(r.service, r.tagList(), false, q)
	switch {
	case err != nil:
		return nil, nil, explained(r, err)
	case len(entries) == 0 && meta.ResultsFilteredByACLs:
		return nil, nil, consulclient.Invisible(q.Context(), n.client, r.service, meta)
	case len(entries) == 0 && meta.LastIndex <= 1:
		return nil, nil, errNoIndex
	}
	return entries, meta, nil
}

// explained says what Consul means.
func explained(r request, err error) error {
	var status api.StatusError
	if r.filter != "" && errors.As(err, &status) && strings.Contains(strings.ToLower(status.Body), "boolean expression") {
		return fmt.Errorf("filter %q is no expression that Consul understands: %s", r.filter, strings.TrimSpace(status.Body))
	}
	return err
}
