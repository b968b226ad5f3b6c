package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/blockq"
	"argosy/internal/tlsfiles"
	"argosy/internal/watch"
)

// Mesh is what an operator says in Consul's mesh config entry about TLS between the services of the whole mesh
// (https://developer.hashicorp.com/consul/docs/connect/config-entries/mesh, field TLS): versions and cipher suites for
// incoming and for outgoing connections. It only ever makes a configuration stricter. Without an entry nothing is said.
//
// Before Consul's first answer no configuration is given away; afterwards what is known stays in force for as long as
// Consul cannot be reached. Its methods may be called from any goroutine.
type Mesh struct {
	client  *api.Client
	logger  hclog.Logger
	metrics *metrics
	trouble trouble
	state   *watch.Cell[*meshTLS] // nil: not known yet
}

// meshTLS is a mesh config entry, as far as TLS is concerned. It is never changed.
type meshTLS struct{ incoming, outgoing restriction }

func (m *meshTLS) equal(o *meshTLS) bool {
	return m == o || m != nil && o != nil && m.incoming.equal(o.incoming) && m.outgoing.equal(o.outgoing)
}

// restriction is what one direction is confined to.
type restriction struct {
	min, max uint16   // 0: not confined
	chosen   bool     // the suites of TLS 1.2 are; those of TLS 1.3 cannot be
	suites   []uint16 // of those that we have; sorted
}

func (r restriction) equal(o restriction) bool {
	return r.min == o.min && r.max == o.max && r.chosen == o.chosen && slices.Equal(r.suites, o.suites)
}

// NewMesh makes a Mesh; Run brings it to life. reg may be nil.
func NewMesh(client *api.Client, logger hclog.Logger, reg prometheus.Registerer) *Mesh {
	return &Mesh{client: client, logger: logger, metrics: newMetrics(reg), state: watch.New(nil, (*meshTLS).equal)}
}

// Inherit makes m know what another one knows, until Consul says something else. It is called before Run.
func (m *Mesh) Inherit(from *Mesh) { m.state.Set(from.state.Value()) }

// Run follows the entry until ctx ends, by a blocking query. Any token that is valid may read it.
func (m *Mesh) Run(ctx context.Context) {
	report := reporter(m.logger, m.metrics, &m.trouble, "", "mesh", func() bool { return m.state.Value() != nil })
	var told []string
	blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) ([]api.ConfigEntry, *api.QueryMeta, error) {
		// The list has an index also while there is no entry, which a plain read has not.
		return m.client.ConfigEntries().List(api.MeshConfig, q)
	}, func(entries []api.ConfigEntry, _ *api.QueryMeta, err error) {
		report(err)
		if err != nil {
			return
		}
		next, odd := parseMesh(entries)
		if len(odd) > 0 && !slices.Equal(odd, told) {
			m.logger.Warn("the mesh config entry names what is not known here; it is not used", "names", strings.Join(odd, ", "))
		}
		told = odd
		if m.state.Set(next) {
			m.logger.Debug("mesh config entry", "incoming", next.incoming.String(), "outgoing", next.outgoing.String())
		}
	})
}

// Ready returns nil when it is known what the entry says, and else an ErrNotReady.
func (m *Mesh) Ready() error {
	if m.state.Value() == nil {
		return m.trouble.missing("no answer from Consul yet about the mesh config entry", "mesh")
	}
	return nil
}

// Server returns a configuration for accepting connections that is t, confined to what the entry says at each handshake.
func (m *Mesh) Server(t *tls.Config) *tls.Config {
	type confined struct {
		by     *meshTLS
		config *tls.Config
		err    error
	}
	var newest atomic.Pointer[confined]
	base := t.Clone()
	t = t.Clone()
	t.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		by := m.state.Value()
		if by == nil {
			return nil, m.Ready()
		}
		c := newest.Load()
		if c == nil || c.by != by {
			c = &confined{by: by, config: base.Clone()}
			c.err = by.incoming.confine(c.config)
			newest.Store(c)
		}
		return c.config, c.err
	}
	return t
}

// Client confines the configuration of a new connection to what the entry says now.
func (m *Mesh) Client(t *tls.Config) error {
	by := m.state.Value()
	if by == nil {
		return m.Ready()
	}
	return by.outgoing.confine(t)
}

var errNoVersion = errors.New("no version of TLS is left")

// confine makes t stricter where r is. The minimum of t is met in any case.
func (r restriction) confine(t *tls.Config) error {
	t.MinVersion = max(t.MinVersion, r.min)
	if r.max != 0 && (t.MaxVersion == 0 || r.max < t.MaxVersion) {
		t.MaxVersion = r.max
	}
	if r.chosen {
		t.CipherSuites = r.suites
		if len(r.suites) == 0 {
			t.MinVersion = max(t.MinVersion, tls.VersionTLS13)
		}
	}
	if t.MaxVersion != 0 && t.MinVersion > t.MaxVersion {
		return fmt.Errorf("%w: the mesh config entry allows none above %s, and below %s there is none here that is allowed",
			errNoVersion, tls.VersionName(t.MaxVersion), tls.VersionName(t.MinVersion))
	}
	return nil
}

func (r restriction) String() string {
	var parts []string
	if r.min != 0 {
		parts = append(parts, "at least "+tls.VersionName(r.min))
	}
	if r.max != 0 {
		parts = append(parts, "at most "+tls.VersionName(r.max))
	}
	if r.chosen {
		parts = append(parts, fmt.Sprintf("%d cipher suites", len(r.suites)))
	}
	if len(parts) == 0 {
		return "not confined"
	}
	return strings.Join(parts, ", ")
}

// parseMesh takes the settings for TLS from a list of mesh config entries, of which there is one at most. odd are the names
// in it that mean nothing here.
func parseMesh(entries []api.ConfigEntry) (m *meshTLS, odd []string) {
	m = &meshTLS{}
	for _, e := range entries {
		entry, ok := e.(*api.MeshConfigEntry)
		if !ok || entry.TLS == nil {
			continue
		}
		var more []string
		m.incoming, odd = parseRestriction(entry.TLS.Incoming)
		m.outgoing, more = parseRestriction(entry.TLS.Outgoing)
		odd = append(odd, more...)
	}
	slices.Sort(odd)
	return m, slices.Compact(odd)
}

func parseRestriction(d *api.MeshDirectionalTLSConfig) (r restriction, odd []string) {
	if d == nil {
		return restriction{}, nil
	}
	version := func(name string) uint16 {
		v, ok := parseVersion(name)
		if !ok {
			odd = append(odd, name)
		}
		return v
	}
	r.min, r.max, r.chosen = version(d.TLSMinVersion), version(d.TLSMaxVersion), len(d.CipherSuites) > 0
	for _, name := range d.CipherSuites {
		if id, ok := parseSuite(name); ok {
			r.suites = append(r.suites, id)
		} else {
			odd = append(odd, name)
		}
	}
	slices.Sort(r.suites)
	r.suites = slices.Compact(r.suites)
	return r, odd
}

// parseVersion reads a version of TLS as Consul and Envoy write it; 0 leaves it to us.
func parseVersion(name string) (version uint16, ok bool) {
	switch name {
	case "", "TLS_AUTO":
		return 0, true
	case "TLSv1_0":
		return tls.VersionTLS10, true
	case "TLSv1_1":
		return tls.VersionTLS11, true
	case "TLSv1_2":
		return tls.VersionTLS12, true
	case "TLSv1_3":
		return tls.VersionTLS13, true
	}
	return 0, false
}

// parseSuite reads a cipher suite as Consul writes it, which is as the IANA and crypto/tls do. Those without forward secrecy
// or authenticated encryption are not known here, also where the entry allows them.
func parseSuite(name string) (id uint16, ok bool) {
	for _, id := range tlsfiles.Base().CipherSuites {
		if tls.CipherSuiteName(id) == name {
			return id, true
		}
	}
	return 0, false
}
