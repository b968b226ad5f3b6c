package plan

import (
	"errors"
	"strings"
	"testing"

	"argosy/dtab"
	"argosy/namer"
)

// binding makes one of clusters "id share endpoints"; an id of - is none.
func binding(status namer.Status, clusters ...cluster) namer.Binding {
	b := namer.Binding{Status: status}
	for _, c := range clusters {
		n := namer.Cluster{Share: c.share, Addr: namer.Addr{Status: namer.OK, Endpoints: make([]namer.Endpoint, c.endpoints)}}
		if c.id != "-" {
			n.ID = dtab.MustParsePath(c.id)
		}
		b.Clusters = append(b.Clusters, n)
	}
	return b
}

type cluster struct {
	id        string
	share     float64
	endpoints int
}

func TestJudge(t *testing.T) {
	t.Parallel()
	nothing, dry := binding(namer.OK), binding(namer.OK, cluster{"/a", 1, 0})
	a, b := binding(namer.OK, cluster{"/a", 1, 3}), binding(namer.OK, cluster{"/b", 1, 1})
	ab := binding(namer.OK, cluster{"/a", 0.9, 3}, cluster{"/b", 0.1, 1})
	ba := binding(namer.OK, cluster{"/b", 0.5, 1}, cluster{"/a", 0.5, 3})
	twice := binding(namer.OK, cluster{"/a", 0.5, 3}, cluster{"/a", 0.5, 3})
	half := binding(namer.OK, cluster{"/a", 0.5, 3}, cluster{"-", 0.5, 0})
	pending, failed := binding(namer.Pending), namer.Binding{Status: namer.Failed, Err: errors.New("loop")}
	for _, c := range []struct {
		name          string
		before, after namer.Binding
		open          bool // not all is known
		want          Verdict
	}{
		{"nothing new", a, a, false, Same}, {"nothing both", nothing, nothing, false, Same}, {"order", ab, ab, false, Same},
		{"one cluster in two parts", a, twice, false, Same}, {"dry both", dry, dry, false, Same}, {"failed both", failed, failed, false, Same},
		{"other cluster", a, b, false, Moves}, {"one more", a, ab, false, Moves}, {"one less", ab, a, false, Moves}, {"a part is nobody", a, half, false, Moves},
		{"other weights", ab, ba, false, Shares},
		{"gone", a, nothing, false, Lost}, {"no endpoints", a, dry, false, Lost}, {"dry to nothing", dry, nothing, false, Lost}, {"fails", a, failed, false, Lost},
		{"new", nothing, a, false, Gained}, {"endpoints at last", dry, b, false, Gained}, {"bound at last", nothing, dry, false, Gained},
		{"not known", a, pending, true, Unknown}, {"half known, less", a, nothing, true, Unknown}, {"half known, the same", a, a, true, Same},
		{"half known, other", a, b, true, Moves}, {"not known before", pending, nothing, false, Unknown}, {"not known before, now good", pending, a, false, Gained},
	} {
		if got := Judge(c.before, c.after, !c.open); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestFleet(t *testing.T) {
	t.Parallel()
	now := []Cluster{{"/#/a", 1, "ok", 2}}
	name := func(name string, v Verdict, open, touched int, after ...Cluster) Name {
		return Name{Name: name, Verdict: v, Connections: open, Touched: touched, Before: now, After: after}
	}
	f := &Fleet{Namespace: "default"}
	f.Add("http://one", Answer{Agent: "one", Applies: true, Names: []Name{
		name("/svc/web", Same, 7, 0, now...), name("/svc/redis", Moves, 5, 5, Cluster{"/#/b", 0.9, "ok", 1}, Cluster{"/#/ccc", 0.1, "ok", 0}),
	}}, nil)
	f.Add("http://two", Answer{Agent: "two", Applies: true, Names: []Name{
		name("/svc/redis", Lost, 2, 2), name("/svc/web", Same, 1, 0, now...), name("/svc/slow", Unknown, 0, 0),
	}}, nil)
	f.Add("http://three", Answer{}, errors.New("answers \x1b[2Jnonsense\n")) // nothing that comes from outside commands the terminal
	f.Add("http://four", Answer{Agent: "four", Source: "static", Why: "its table is in its configuration"}, nil)
	var b strings.Builder
	if err := Draw(&b, f, false); err != nil {
		t.Fatal(err)
	}
	const want = `2 agents asked about namespace default: 3 names in use, 15 connections open
  not asked: http://three: answers  [2Jnonsense 
  not counted: four (http://four): its table is in its configuration

lost     /svc/redis  7 connections open on 2 agents, 7 touched
         now     100%  /#/a  2 endpoints
         then  nothing

unknown  /svc/slow  0 connections open
         now     100%  /#/a  2 endpoints
         then  not known in time

names: 1 lost, 1 unknown, 1 same
connections: 7 touched; those that are open stay open, new ones go elsewhere
1 name would be lost, with 7 connections open now
`
	if b.String() != want {
		t.Errorf("drawn:\n%s", b.String())
	}
	b.Reset()
	silent := &Fleet{Namespace: "default"}
	silent.Add("http://three", Answer{}, errors.New("does not answer in time"))
	if err := Draw(&b, silent, false); err != nil || b.String() != `0 agents asked about namespace default: 0 names in use, 0 connections open
  not asked: http://three: does not answer in time

nothing is known: no agent that uses this namespace could be asked
` {
		t.Errorf("%v, without an answer drawn:\n%s", err, b.String())
	}
	if n, ok := f.Name("/svc/web"); !ok || n.Agents != 2 || n.Connections != 8 || len(f.Silent()) != 1 || f.Counted() != 2 {
		t.Errorf("web is %+v", n)
	}
}
