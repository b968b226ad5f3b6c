// Package namer turns names into endpoints. A Namer answers for the names below its prefix, for as long as somebody
// wants to know; the Interpreter puts a Dtab and the mounted namers together and binds a name to weighted clusters of
// endpoints. Each mechanism has a package of its own below this one.
package namer

import (
	"context"
	"maps"
	"slices"

	"argosy/dtab"
)

// Status tells how far an answer has come.
type Status uint8

// The statuses. Neg is only used for addresses: a name that is nothing is an OK answer whose tree is dtab.Neg.
const (
	Pending Status = iota // not known yet
	OK                    // known
	Neg                   // known to be nothing
	Failed                // cannot be known; Err says why
)

func (s Status) String() string { return [...]string{"pending", "ok", "neg", "failed"}[s] }

// Endpoint is one place to connect to. It is a value: its map must not be changed.
type Endpoint struct {
	Addr   string            // "ip:port", or "/path" of a unix socket
	Weight float64           // share relative to the other endpoints of its cluster; 1 unless the namer knows better
	Meta   map[string]string // what the catalog tells: node, dc, id, ...

	// Connect names the Consul Connect service that must answer at Addr; zero where the catalog did not offer Connect.
	Connect ConnectID
}

// ConnectID is the Connect identity that an endpoint must prove: taken from what was asked, never from what answers.
type ConnectID struct{ Datacenter, Service string }

// Addr is the state of a bound name's endpoints.
type Addr struct {
	Status    Status
	Endpoints []Endpoint // for OK; sorted by Addr, each Addr once; may be empty
	Err       error      // for Failed; of Neg, why it is nothing, where that is trouble
	Stale     bool       // the last known good set, kept because the source is in trouble

	// Meta is about the set as a whole: authority, the host that requests are to name. It must not be changed.
	Meta map[string]string
}

// Equal reports whether two address states are the same to a reader.
func (a Addr) Equal(b Addr) bool {
	return a.Status == b.Status && a.Stale == b.Stale && errText(a.Err) == errText(b.Err) && maps.Equal(a.Meta, b.Meta) &&
		slices.EqualFunc(a.Endpoints, b.Endpoints, func(x, y Endpoint) bool {
			return x.Addr == y.Addr && x.Weight == y.Weight && x.Connect == y.Connect && maps.Equal(x.Meta, y.Meta)
		})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Leaf is a leaf of an answer: a path that is to be looked up again, or a concrete name with its endpoints.
type Leaf struct {
	Path  dtab.Path // to be looked up again, where Bound is nil
	Bound *Bound
}

// Bound is a concrete name: the end of a delegation.
type Bound struct {
	ID       dtab.Path // the namer's prefix and what the namer consumed, as written
	Residual dtab.Path // what was left over
	Addr     Addr

	// Weight is that of the innermost union branch that led here, also where its siblings are gone; nil outside of
	// unions. The interpreter sets it, and it takes no part in the shares.
	Weight *float64
}

// Equal reports whether two bound names are the same to a reader, endpoints included.
func (b Bound) Equal(c Bound) bool {
	return b.ID.Equal(c.ID) && b.Residual.Equal(c.Residual) && b.Addr.Equal(c.Addr) &&
		(b.Weight == nil) == (c.Weight == nil) && (b.Weight == nil || *b.Weight == *c.Weight)
}

// Answer is what a namer says about one name.
type Answer struct {
	Status Status          // Pending, OK or Failed
	Tree   dtab.Tree[Leaf] // for OK
	Err    error           // for Failed; of nothing, why it is, where that is trouble
}

// Equal reports whether two answers are the same to a reader, endpoints included.
func (a Answer) Equal(b Answer) bool {
	return a.Status == b.Status && errText(a.Err) == errText(b.Err) && dtab.EqualTrees(a.Tree, b.Tree, Leaf.equal)
}

func (l Leaf) equal(m Leaf) bool {
	return l.Path.Equal(m.Path) && (l.Bound == nil) == (m.Bound == nil) && (l.Bound == nil || l.Bound.Equal(*m.Bound))
}

// Namer answers for the names below its prefix. Its methods may be called from any goroutine.
type Namer interface {
	// Split divides name, the path below the namer's prefix, into the key that is watched and the residual that is not
	// looked at, so that names with one key share one watch. Not ok: the name is nothing (Neg).
	Split(name dtab.Path) (key, residual dtab.Path, ok bool)

	// Watch publishes what key stands for, now and at every change, until ctx ends; then it returns. Before the first
	// call of publish the answer is Pending. After an error upstream it goes on and keeps the last good answer. The
	// bound leaves it publishes have IDs that start with prefix and no residual, unless only the answer can tell how much
	// of the key the name is: then ID and Residual together are prefix and key. Path leaves are taken as they are. publish
	// drops what equals the answer before, and is called by one goroutine at a time.
	Watch(ctx context.Context, prefix, key dtab.Path, publish func(Answer))
}

// Peeker is a Namer that knows some answers at once, so that names are bound without a moment of Pending.
type Peeker interface {
	// Peek returns what Watch would publish first. It must be quick; not ok leaves it to Watch.
	Peek(prefix, key dtab.Path) (Answer, bool)
}

// Enumerator is a Namer that can list names it knows.
type Enumerator interface {
	// Names returns the keys below the prefix that are known now, sorted. It need not list all of them: what can be
	// listed cheaply is enough.
	Names(ctx context.Context) ([]dtab.Path, error)
}

// Constant is a Namer that answers some names from the name alone, and for ever, so that there is nothing to watch.
type Constant interface {
	// Constant returns the answer for name, the whole path below prefix, with what is left over of it in the residual of
	// bound leaves. It is what Split and Watch would come to; not ok leaves it to them.
	Constant(prefix, name dtab.Path) (Answer, bool)
}

// Mount is a namer at its prefix, for instance /#/io.l5d.consul.
type Mount struct {
	Prefix dtab.Path
	Namer  Namer
}

// Cluster is one leaf of a bound name: endpoints that are balanced among themselves, and the cluster's share.
type Cluster struct {
	ID       dtab.Path
	Residual dtab.Path
	Share    float64 // of all connections of the name, 0 to 1; the shares of a binding sum to 1
	Addr     Addr
	By       *Rewrite // the last entry that led here; nil: none, or it is not known
}

// Binding is what a name stands for at one moment, under one table and the answers of the namers.
type Binding struct {
	Status   Status // Pending, OK or Failed
	Tree     dtab.Tree[Bound]
	Clusters []Cluster // the tree's leaves in its order, and $ branches as clusters without ID or endpoints

	// Err is for Failed, and may tell why it is Pending. With OK it says why the name cannot be bound any more: then Tree
	// and Clusters are the last good ones, with the addresses of now.
	Err error
}

// Equal reports whether two bindings are the same to a reader, endpoints included.
func (b Binding) Equal(c Binding) bool {
	return b.Status == c.Status && errText(b.Err) == errText(c.Err) && dtab.EqualTrees(b.Tree, c.Tree, Bound.Equal)
}
