package agent

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"argosy/dtab"
)

// filter chooses connections. What is not set chooses all.
type filter struct {
	text   string // as it was asked for
	narrow bool   // something is set beside the limit

	listener, endpoint, peer, phase string

	name, cluster dtab.Path    // or below it
	client        netip.Prefix // an address is one, too
	unix          bool         // clients of Unix sockets
	minAge, quiet time.Duration
	limit         int // the oldest; 0: all
}

// filterKeys are what parseFilter knows.
func filterKeys() []string {
	return []string{"listener", "name", "cluster", "endpoint", "client", "peer", "phase", "min_age", "quiet", "limit"}
}

// parseFilter reads a filter out of a query, in which there may be other keys that are known elsewhere.
func parseFilter(q url.Values, others ...string) (filter, error) {
	f := filter{text: q.Encode()}
	for key, values := range q {
		switch known := append(filterKeys(), others...); {
		case !slices.Contains(known, key):
			return f, fmt.Errorf("%s: there is no such filter: there are %s", key, strings.Join(known, ", "))
		case len(values) > 1:
			return f, fmt.Errorf("%s: is given twice", key)
		case values[0] == "":
			return f, fmt.Errorf("%s: is empty", key)
		}
		if err := f.set(key, values[0]); err != nil {
			return f, fmt.Errorf("%s: %w", key, err)
		}
	}
	return f, nil
}

func (f *filter) set(key, value string) (err error) {
	f.narrow = f.narrow || slices.Contains(filterKeys(), key) && key != "limit"
	switch key {
	case "listener":
		f.listener = value
	case "endpoint":
		f.endpoint = value
	case "peer":
		f.peer = value
	case "name":
		f.name, err = dtab.ParsePath(value)
	case "cluster":
		f.cluster, err = dtab.ParsePath(value)
	case "client":
		return f.setClient(value)
	case "phase":
		if f.phase = value; !slices.Contains([]string{routing.String(), connecting.String(), open.String()}, value) {
			return fmt.Errorf("%q is none: there are routing, connecting and open", value)
		}
	case "min_age":
		f.minAge, err = parseSpan(value)
	case "quiet":
		f.quiet, err = parseSpan(value)
	case "limit":
		if f.limit, err = strconv.Atoi(value); err != nil || f.limit < 1 {
			return fmt.Errorf("%q is no number of connections", value)
		}
	}
	return err
}

func (f *filter) setClient(value string) (err error) {
	switch {
	case value == "unix":
		f.unix = true
	case strings.Contains(value, "/"):
		if f.client, err = netip.ParsePrefix(value); err != nil {
			return fmt.Errorf("%q is no network such as 10.0.0.0/8", value)
		}
		f.client = f.client.Masked()
	default:
		a, err := netip.ParseAddr(value)
		if err != nil {
			return fmt.Errorf("%q is no IP address, no network such as 10.0.0.0/8, and not unix", value)
		}
		a = a.Unmap().WithZone("")
		f.client = netip.PrefixFrom(a, a.BitLen())
	}
	return nil
}

func parseSpan(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time such as 90s or 5m", value)
	}
	return d, nil
}

// look returns what is to be shown of a connection, and whether it is chosen.
func (f *filter) look(c *connection) (ConnectionInfo, bool) {
	c.mu.Lock()
	client := c.client.Addr().Unmap().WithZone("")
	c.mu.Unlock()
	switch { // the cheap ones first
	case f.listener != "" && c.listener.name != f.listener,
		f.minAge > 0 && c.age() < f.minAge,
		f.client.IsValid() && !f.client.Contains(client),
		f.unix && client.IsValid():
		return ConnectionInfo{}, false
	}
	i := c.info()
	return i, (f.endpoint == "" || i.Endpoint == f.endpoint) &&
		(f.peer == "" || i.Peer == f.peer) &&
		(f.phase == "" || i.Phase == f.phase) &&
		(f.quiet == 0 || i.Quiet != nil && *i.Quiet >= f.quiet.Seconds()) &&
		below(f.name, i.Name) && below(f.cluster, i.Cluster)
}

// below reports whether a path, written out, is the one that is looked for, or below it.
func below(path dtab.Path, text string) bool {
	if len(path) == 0 {
		return true
	}
	rest, ok := strings.CutPrefix(text, path.String())
	return ok && (rest == "" || rest[0] == '/')
}
