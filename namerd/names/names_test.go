package names_test

import (
	"context"
	"errors"
	"testing"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
	"argosy/namerd/names"
	"argosy/namerd/store"
)

// listing is a namer that can list its names, or not.
type listing struct {
	*manual.Namer
	names []dtab.Path
	err   error
}

func (l listing) Names(context.Context) ([]dtab.Path, error) { return l.names, l.err }

func open(t *testing.T, n *manual.Namer, more ...namer.Mount) *names.Names {
	tables := store.NewMemory(map[string]dtab.Dtab{"default": nil})
	all := names.New(tables, namer.Options{Mounts: append(more, namer.Mount{Prefix: dtab.MustParsePath("/#/m"), Namer: n}), Linger: -1}, hclog.NewNullLogger())
	t.Cleanup(all.Close)
	return all
}

func TestAddr(t *testing.T) {
	t.Parallel()
	n := manual.New(1)
	n.SetEndpoints("a", "127.0.0.1:1")
	n.SetEndpoints("b", "127.0.0.1:2")
	broken := errors.New("no cluster leader")
	n.Fail("broken", broken)
	n.SetAddr("bad", namer.Addr{Status: namer.Failed, Err: errors.New("malformed address: x")})
	n.Set("both", namer.Answer{Status: namer.OK, Tree: dtab.Tree[namer.Leaf]{Kind: dtab.Union, Branches: []dtab.Branch[namer.Leaf]{
		{Weight: 1, Tree: dtab.LeafOf(namer.Leaf{Path: dtab.MustParsePath("/#/m/a")})}, {Weight: 1, Tree: dtab.LeafOf(namer.Leaf{Path: dtab.MustParsePath("/#/m/b")})}}}})
	all := open(t, n)
	for id, want := range map[string]struct {
		status  namer.Status
		text    string
		unbound bool
	}{
		"/#/m/a":               {status: namer.OK},
		"/%/transformer/#/m/a": {status: namer.OK},
		"/%/transformer/x":     {status: namer.Neg},
		"/#/m/nothing/there":   {status: namer.Pending},
		"/svc/a":               {status: namer.Neg},
		"/$/nil":               {status: namer.OK},
		"/$/fail":              {namer.Failed, "name tree failed", true},
		"/#/m/both":            {namer.Failed, "/#/m/both is not a concrete bound id", true},
		"/#/m/broken":          {namer.Failed, "no cluster leader", true},
		"/#/m/bad":             {namer.Failed, "malformed address: x", false},
	} {
		var a namer.Addr
		for a = range watch.Values(t.Context(), all.Addr(t.Context(), dtab.MustParsePath(id))) {
			if a.Status == want.status {
				break
			}
		}
		var unbound *names.UnboundError
		if a.Status == namer.Failed && (a.Err.Error() != want.text || errors.As(a.Err, &unbound) != want.unbound) {
			t.Errorf("%s: %v (unbound: %v), want %s (%v)", id, a.Err, unbound != nil, want.text, want.unbound)
		}
		if id == "/#/m/broken" && !errors.Is(a.Err, broken) {
			t.Errorf("%s: %v does not wrap its reason", id, a.Err)
		}
	}
}

// What can be no namespace is the empty table for binding, under which the local entries still count.
func TestNoNamespace(t *testing.T) {
	t.Parallel()
	n := manual.New(1)
	n.SetEndpoints("a", "127.0.0.1:1")
	all := open(t, n)
	local, err := dtab.Parse("/x => /#/m/a")
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{"", "a/b", "a b", "nowhere", "\x00"} {
		for b := range watch.Values(t.Context(), all.Bind(t.Context(), ns, local, dtab.LeafOf(dtab.MustParsePath("/x")))) {
			if b.Status == namer.OK && b.Tree.Kind == dtab.Leaf {
				break
			} else if b.Status != namer.Pending {
				t.Fatalf("%q: %+v", ns, b)
			}
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	n := manual.New(1)
	path := dtab.MustParsePath
	all := open(t, n,
		namer.Mount{Prefix: path("/#/z"), Namer: listing{n, []dtab.Path{path("/b"), path("/a")}, nil}},
		namer.Mount{Prefix: path("/#/z"), Namer: listing{n, []dtab.Path{path("/a"), path("/c/d")}, nil}},
		namer.Mount{Prefix: path("/#/b"), Namer: listing{n, []dtab.Path{path("/a")}, errors.New("permission denied")}})
	got, err := all.List(t.Context())
	if err == nil || err.Error() != "list the names of /#/b: permission denied" {
		t.Error(err)
	}
	var text string
	for _, p := range got {
		text += p.String() + " "
	}
	if text != "/#/b/a /#/z/a /#/z/b /#/z/c/d " {
		t.Error(text)
	}
}
