// Package explanation is the form in which the explanation of a name travels from a namerd or an agent to whoever wants
// to see it, and the picture that people get of it.
package explanation

import (
	"slices"
	"time"

	"argosy/dtab"
	"argosy/namer"
)

// The tables that an entry can be from, weakest first: later ones win.
const (
	Stored  = "stored"  // the namespace's
	Local   = "local"   // of the agent's configuration
	Request = "request" // sent along with the question
)

// Explanation is the whole delegation of a name at one moment. It is a value that is not changed.
type Explanation struct {
	Name      string    `json:"name"`
	Namespace string    `json:"namespace,omitempty"`
	At        time.Time `json:"at"`                // by the clock of the one that answers, as all times here
	Total     int       `json:"total"`             // entries in the table, all layers together; -1 where that is not known
	Entries   []Entry   `json:"entries"`           // those that Step.Entry points to
	Waiting   bool      `json:"waiting"`           // something was not known in time
	Trouble   string    `json:"trouble,omitempty"` // a sentence about the table as such
	Tree      Step      `json:"tree"`
	Agent     *Agent    `json:"agent,omitempty"` // in the answers of agents

	// Connection is the live one whose name was asked for.
	Connection *Connection `json:"connection,omitempty"`
}

// Serves reports whether connections to the name find an endpoint.
func (x *Explanation) Serves() bool { return x.Tree.serves() }

func (s Step) serves() bool {
	return s.Taken && (serves(s) || slices.ContainsFunc(s.Steps, Step.serves))
}

// Entry is an entry of the table that takes part.
type Entry struct {
	Table  string `json:"table"`  // stored, local or request; empty where that is not known
	Number int    `json:"number"` // in its table, the first is 1; 0 where that is not known
	Prefix string `json:"prefix"`
	Dst    string `json:"dst"`
}

// Step is one node of the tree: what becomes of one path.
type Step struct {
	Kind   string     `json:"kind"` // of namer.StepKind, or transformation
	Path   string     `json:"path"`
	Entry  *int       `json:"entry,omitempty"`  // that led here: its place in Explanation.Entries
	Weight *float64   `json:"weight,omitempty"` // as the branch of a union
	Taken  bool       `json:"taken"`            // connections go here
	Share  float64    `json:"share"`            // of all connections of the name, 0 to 1
	Why    string     `json:"why,omitempty"`    // why not
	Error  string     `json:"error,omitempty"`
	Since  *time.Time `json:"since,omitempty"` // when a namer has begun to say so
	Bound  *Bound     `json:"bound,omitempty"` // of a leaf
	Steps  []Step     `json:"steps,omitempty"`
}

// Bound is a concrete name with its endpoints.
type Bound struct {
	ID        string     `json:"id"`
	Residual  string     `json:"residual,omitempty"`
	Status    string     `json:"status"` // of namer.Status
	Error     string     `json:"error,omitempty"`
	Stale     bool       `json:"stale,omitempty"` // the last known good set, kept because the source is in trouble
	Count     int        `json:"count"`           // of endpoints
	Endpoints []Endpoint `json:"endpoints"`       // all of them, unless the whole would become too large
}

// Endpoint is one place to connect to.
type Endpoint struct {
	Address string            `json:"address"`
	Weight  float64           `json:"weight"`
	Meta    map[string]string `json:"meta,omitempty"`
}

// Agent is what an agent that was asked does with the name at that moment. It may differ from the tree: an agent keeps
// the last good binding when a name cannot be bound any more.
type Agent struct {
	Name     string         `json:"name"`
	Followed bool           `json:"followed"` // the agent has this name in use; without it the rest is empty
	Status   string         `json:"status,omitempty"`
	Bound    string         `json:"bound,omitempty"` // the tree of concrete names that is in force
	LastGood bool           `json:"last_good"`       // what is in force is not what a fresh look gives
	Error    string         `json:"error,omitempty"` // why there is no fresh one
	Open     int            `json:"open"`            // connections
	Clusters []AgentCluster `json:"clusters,omitempty"`
}

// Connection is a live connection, with where it went when it was opened.
type Connection struct {
	ID       uint64    `json:"id"`
	Listener string    `json:"listener"`
	Client   string    `json:"client"`
	Phase    string    `json:"phase"` // routing, connecting or open
	Opened   time.Time `json:"opened"`
	Cluster  string    `json:"cluster,omitempty"`
	Endpoint string    `json:"endpoint,omitempty"`
	Draining bool      `json:"endpoint_draining"` // the endpoint gets no new connections of this name
	Attempts int       `json:"attempts"`
	In       int64     `json:"bytes_in"`
	Out      int64     `json:"bytes_out"`
	Dtab     []Used    `json:"dtab,omitempty"` // the entries that led to the cluster when that was decided, in their order
}

// Used is an entry of the table as it was when it was used.
type Used struct {
	Entry int    `json:"entry"` // the first of the table is 1; those of the agent's own come behind
	Text  string `json:"text"`  // or the beginning of it
}

// AgentCluster is a cluster as the agent's balancer has it.
type AgentCluster struct {
	Cluster   string          `json:"cluster"`
	Share     float64         `json:"share"`
	Status    string          `json:"status"` // of namer.Status, or gone
	Stale     bool            `json:"stale,omitempty"`
	Open      int             `json:"open"`
	Endpoints []AgentEndpoint `json:"endpoints"`
}

// AgentEndpoint is an endpoint as the agent's balancer has it.
type AgentEndpoint struct {
	Address string  `json:"address"`
	State   string  `json:"state"` // active, failing or draining
	Weight  float64 `json:"weight"`
	Open    int     `json:"open"` // connections
}

// Of puts a namer's explanation into its travelling form. request is how many entries at the end of the table came with
// the question.
func Of(name dtab.Path, x *namer.Explanation, request int, at time.Time) *Explanation {
	c := &converter{x: x, request: request, index: map[int]int{}, entries: []Entry{}, left: largest}
	e := &Explanation{Name: name.String(), At: at, Total: len(x.Table), Waiting: x.Waiting}
	e.Tree = c.step(x.Root, false)
	e.Entries = c.entries
	return e
}

// Broken is the explanation of a name that cannot be delegated at all, and why.
func Broken(name dtab.Path, err error, at time.Time) *Explanation {
	return &Explanation{Name: name.String(), At: at, Total: -1, Entries: []Entry{}, Tree: Step{
		Kind: "exception", Path: name.String(), Taken: true, Share: 1, Error: err.Error(),
	}}
}

// largest is about how many bytes of names and endpoints an explanation has. A wide table can lead to one large service
// by thousands of ways: what comes behind is cut short.
const largest = 8 << 20

type converter struct {
	left    int // bytes
	x       *namer.Explanation
	request int
	index   map[int]int // of the table's entries in entries
	entries []Entry
}

func (c *converter) step(s namer.Step, inUnion bool) Step {
	t := Step{Kind: s.Kind.String(), Path: c.text(s.Path.String()), Taken: s.Taken, Share: s.Share, Why: s.Why, Entry: c.entry(s)}
	if inUnion {
		t.Weight = &s.Weight
	}
	if s.Err != nil {
		t.Error = c.text(s.Err.Error())
	}
	if !s.Since.IsZero() {
		t.Since = &s.Since
	}
	if s.Bound != nil {
		t.Bound = c.bound(*s.Bound)
	}
	for _, child := range s.Steps {
		t.Steps = append(t.Steps, c.step(child, s.Kind == namer.StepUnion))
	}
	return t
}

// entry is where the entry of a step stands among those that take part. Each of them is there once: a wide one may be
// the entry of thousands of steps.
func (c *converter) entry(s namer.Step) *int {
	e := c.x.Entry(s)
	if e == nil {
		return nil
	}
	i, ok := c.index[s.Entry]
	if !ok {
		i = len(c.entries)
		c.index[s.Entry] = i
		table, first := Stored, 0
		switch {
		case s.Entry >= len(c.x.Table)-c.request:
			table, first = Request, len(c.x.Table)-c.request
		case s.Entry >= c.x.Stored:
			table, first = Local, c.x.Stored
		}
		c.entries = append(c.entries, Entry{
			Table: table, Number: s.Entry - first + 1, Prefix: e.Prefix.String(), Dst: dtab.TreeString(e.Dst),
		})
	}
	return &i
}

func (c *converter) bound(b namer.Bound) *Bound {
	t := &Bound{
		ID: c.text(b.ID.String()), Status: b.Addr.Status.String(), Stale: b.Addr.Stale,
		Count: len(b.Addr.Endpoints), Endpoints: []Endpoint{},
	}
	if len(b.Residual) > 0 {
		t.Residual = c.text(b.Residual.String())
	}
	if b.Addr.Err != nil {
		t.Error = c.text(b.Addr.Err.Error())
	}
	for _, e := range b.Addr.Endpoints {
		for k, v := range e.Meta {
			c.left -= len(k) + len(v)
		}
		if c.left -= 64 + len(e.Addr); c.left < 0 {
			break
		}
		t.Endpoints = append(t.Endpoints, Endpoint{Address: e.Addr, Weight: e.Weight, Meta: e.Meta})
	}
	return t
}

// text takes a text from what is left, and cuts it short when there is nothing.
func (c *converter) text(s string) string {
	const short = 64
	if c.left -= len(s); c.left < 0 && len(s) > short {
		return s[:short] + "..."
	}
	return s
}
