package namer_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/rewrite"
)

// The cases come from dtab's testdata; the "about" list there explains the format.

type corpusInput struct {
	Dtab     json.RawMessage // a table, null, or {failed}
	Local    string          `json:"local_dtab"`
	Path     string
	Tree     string
	MaxDepth int `json:"max_depth"`
	Namers   []corpusNamer
	Services map[string][]string
	Steps    []corpusInput

	Pattern, Name string // of a rewriting namer
}

type corpusNamer struct {
	Prefix  string
	Entries map[string]json.RawMessage
}

type corpusLeaf struct {
	ID, Residual string
	Share        float64
	Addrs        []string
	AddrState    string   `json:"addr_state"`
	Weight       *float64 `json:"nametree_weight"`
}

type corpusCase struct {
	ID     string
	In     corpusInput
	Expect struct {
		State     string
		ErrorKind string `json:"error_kind"`
		Outcome   string
		Tree      string
		Structure any
		Leaves    []corpusLeaf
		DeadShare float64 `json:"dead_share"`
		Resolved  corpusLeaf
		Emits     []struct{ State, Tree string }
		corpusAnswer
	}
}

// corpusAnswer is what one namer says of one path.
type corpusAnswer struct {
	Result, Path string
	ID, Residual string
	Addr         []string
}

func corpus(t *testing.T, group string) []corpusCase { return corpusOf[corpusCase](t, group) }

// corpusOf returns the cases of a group: those that came from outside, and our own.
func corpusOf[Case any](t *testing.T, group string) []Case {
	t.Helper()
	var all []Case
	for _, file := range []string{"../dtab/testdata/dtab_cases.json", "../dtab/testdata/own_cases.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Groups map[string]json.RawMessage
			Counts map[string]int
		}
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		var cases []Case
		if err := json.Unmarshal(read.Groups[group], &cases); err != nil {
			t.Fatal(err)
		}
		if len(cases) == 0 || len(cases) != read.Counts[group] {
			t.Fatalf("%d cases in group %s of %s, want %d", len(cases), group, file, read.Counts[group])
		}
		all = append(all, cases...)
	}
	return all
}

// world is what a case describes: a table and namers, both of which steps can change. It is one namer at each prefix.
type world struct {
	t     *testing.T
	table *watch.Cell[namer.TableState]
	live  []*corpusEntries
}

// corpusEntries is a namer whose keys are whole names: which entry answers can change with the entries.
type corpusEntries struct {
	prefix  dtab.Path
	entries *watch.Cell[map[string]json.RawMessage]
}

func (n *corpusEntries) Split(name dtab.Path) (key, residual dtab.Path, ok bool) {
	return name, nil, true
}

func (n *corpusEntries) Watch(ctx context.Context, prefix, key dtab.Path, publish func(namer.Answer)) {
	for entries := range watch.Values(ctx, n.entries) {
		publish(answerOf(entries, prefix, key))
	}
}

func (n *corpusEntries) Peek(prefix, key dtab.Path) (namer.Answer, bool) {
	entries, _ := n.entries.Load()
	return answerOf(entries, prefix, key), true
}

func answerOf(entries map[string]json.RawMessage, prefix, name dtab.Path) namer.Answer {
	for i := len(name); i >= 0; i-- {
		entry, ok := entries[name[:i].String()]
		if !ok {
			continue
		}
		var addrs []string
		var special struct {
			Pending            bool
			Failed, Tree, Addr string
		}
		bound := func(a namer.Addr) namer.Answer {
			answer := namer.BoundAnswer(prefix.Concat(name[:i]), a)
			answer.Tree.Leaf.Bound.Residual = name[i:]
			return answer
		}
		if err := json.Unmarshal(entry, &addrs); err == nil {
			a := namer.Addr{Status: namer.OK}
			for _, addr := range addrs {
				a.Endpoints = append(a.Endpoints, namer.Endpoint{Addr: addr, Weight: 1})
			}
			return bound(a)
		} else if err := json.Unmarshal(entry, &special); err != nil {
			panic(err)
		}
		switch {
		case special.Pending:
			return namer.Answer{}
		case special.Failed != "":
			return namer.Answer{Status: namer.Failed, Err: errors.New(special.Failed)}
		case special.Tree != "":
			tree, err := dtab.ParseTree(special.Tree)
			if err != nil {
				panic(err)
			}
			return namer.Answer{Status: namer.OK, Tree: dtab.Map(tree, func(p dtab.Path) namer.Leaf { return namer.Leaf{Path: p} })}
		case special.Addr == "neg":
			return bound(namer.Addr{Status: namer.Neg})
		case special.Addr == "pending":
			return bound(namer.Addr{Status: namer.Pending})
		case special.Addr == "failed":
			return bound(namer.Addr{Status: namer.Failed, Err: errors.New("failed")})
		}
		panic("unknown entry " + string(entry))
	}
	return namer.NoAnswer()
}

func newWorld(t *testing.T, in corpusInput) *world {
	w := &world{t: t, table: watch.New(namer.TableState{}, namer.TableState.Equal)}
	mount := func(n corpusNamer) {
		w.live = append(w.live, &corpusEntries{
			prefix:  dtab.MustParsePath(n.Prefix),
			entries: watch.New(map[string]json.RawMessage{}, nil),
		})
	}
	for _, n := range in.namers() { // several may have one prefix
		mount(n)
	}
	for _, step := range in.Steps {
		for _, n := range step.namers() {
			if !slices.ContainsFunc(w.live, func(l *corpusEntries) bool { return l.prefix.String() == n.Prefix }) {
				mount(n)
			}
		}
	}
	w.apply(in)
	return w
}

// namers are those given, or those that stand for services.
func (in corpusInput) namers() []corpusNamer {
	all := slices.Clone(in.Namers)
	for path, addrs := range in.Services {
		p := dtab.MustParsePath(path)
		prefix, key := p[:2].String(), p[2:].String()
		i := slices.IndexFunc(all, func(n corpusNamer) bool { return n.Prefix == prefix })
		if i < 0 {
			i = len(all)
			all = append(all, corpusNamer{Prefix: prefix, Entries: map[string]json.RawMessage{}})
		}
		all[i].Entries[key], _ = json.Marshal(addrs)
	}
	return all
}

// apply makes the world what a step says; what it does not mention stays.
func (w *world) apply(in corpusInput) {
	if in.Services != nil || in.Namers != nil {
		all := in.namers()
		for i, l := range w.live {
			entries := map[string]json.RawMessage{}
			if i < len(all) && len(all) == len(w.live) && all[i].Prefix == l.prefix.String() {
				entries = all[i].Entries // several may have one prefix: their order counts
			} else {
				for _, n := range all {
					if n.Prefix == l.prefix.String() {
						entries = n.Entries
					}
				}
			}
			l.entries.Set(entries)
		}
	}
	if in.Dtab == nil {
		return
	}
	var text *string
	if err := json.Unmarshal(in.Dtab, &text); err != nil {
		var broken struct{ Failed string }
		if err := json.Unmarshal(in.Dtab, &broken); err != nil {
			w.t.Fatal(err)
		}
		w.table.Set(namer.TableState{Status: namer.Failed, Err: errors.New(broken.Failed)})
		return
	}
	if text == nil {
		w.table.Set(namer.TableState{})
		return
	}
	d, err := dtab.Parse(*text)
	if err != nil {
		w.t.Fatal(err)
	}
	w.table.Set(namer.TableState{Status: namer.OK, Dtab: d})
}

func (w *world) interpreter(in corpusInput) *namer.Interpreter {
	local, err := dtab.Parse(in.Local)
	if err != nil {
		w.t.Fatal(err)
	}
	opts := namer.Options{Dtab: w.table, Local: local, MaxDepth: in.MaxDepth, Raw: true}
	for _, l := range w.live {
		opts.Mounts = append(opts.Mounts, namer.Mount{Prefix: l.prefix, Namer: l})
	}
	i := namer.NewInterpreter(opts)
	w.t.Cleanup(i.Close)
	return i
}

func TestCorpusBind(t *testing.T) {
	for _, c := range corpus(t, "bind") {
		t.Run(c.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.In)
				if c.In.Path != "" {
					c.In.Tree = c.In.Path
				}
				tree, err := dtab.ParseTree(c.In.Tree)
				if err != nil {
					t.Fatal(err)
				}
				r := w.interpreter(c.In).BindTree(t.Context(), tree)
				synctest.Wait()
				b, _ := r.Load()
				checkBinding(t, c, b)
			})
		})
	}
}

func showIDs(t dtab.Tree[namer.Bound]) string {
	return dtab.Show(t, func(b namer.Bound) string { return b.ID.String() })
}

func checkBinding(t *testing.T, c corpusCase, b namer.Binding) {
	t.Helper()
	e := c.Expect
	if b.Status.String() != e.State {
		t.Fatalf("state %s (%v), want %s", b.Status, b.Err, e.State)
	}
	if b.Status == namer.Failed {
		checkErrorKind(t, e.ErrorKind, b.Err)
	}
	if b.Status != namer.OK {
		return
	}
	if got := showIDs(b.Tree); got != e.Tree {
		t.Errorf("tree %s, want %s", got, e.Tree)
	}
	got, _ := json.Marshal(structure(b.Tree))
	if want, _ := json.Marshal(e.Structure); string(got) != string(want) {
		t.Errorf("structure %s, want %s", got, want)
	}
	checkLeaves(t, c, b)
	resolved := resolve(b.Tree)
	if state := map[namer.Status]string{namer.OK: "bound"}[resolved.Status]; cmp.Or(state, resolved.Status.String()) != e.Resolved.AddrState {
		t.Errorf("resolved to %s, want %s", resolved.Status, e.Resolved.AddrState)
	}
	if got := addrsOf(resolved); !slices.Equal(got, e.Resolved.Addrs) {
		t.Errorf("resolved to %v, want %v", got, e.Resolved.Addrs)
	}
}

func checkErrorKind(t *testing.T, kind string, err error) {
	t.Helper()
	var depth *namer.RecursionError
	var class *namer.UnknownClassError
	got := "namer_error"
	switch {
	case errors.As(err, &depth):
		got = "max_depth"
	case errors.As(err, &class):
		got = "unknown_namer"
	}
	if got != kind {
		t.Errorf("error kind %s (%v), want %s", got, err, kind)
	}
}

// checkLeaves compares clusters, and the weights of the leaves they come from.
func checkLeaves(t *testing.T, c corpusCase, b namer.Binding) {
	t.Helper()
	var leaves []namer.Bound
	dtab.Map(b.Tree, func(l namer.Bound) int { leaves = append(leaves, l); return 0 })
	var live []namer.Cluster
	sum := 0.0
	for _, cluster := range b.Clusters {
		sum += cluster.Share
		if cluster.ID != nil {
			live = append(live, cluster)
		}
	}
	if len(b.Clusters) > 0 && math.Abs(sum-1) > 1e-9 {
		t.Errorf("shares sum to %v", sum)
	}
	if len(live) != len(c.Expect.Leaves) || len(leaves) != len(live) {
		t.Fatalf("%d clusters and %d leaves, want %d", len(live), len(leaves), len(c.Expect.Leaves))
	}
	dead := 1.0
	for i, want := range c.Expect.Leaves {
		got := live[i]
		dead -= got.Share
		if got.ID.String() != want.ID || got.Residual.String() != want.Residual || math.Abs(got.Share-want.Share) > 1e-6 {
			t.Errorf("cluster %d: got %s %s %v, want %+v", i, got.ID, got.Residual, got.Share, want)
		}
		if want.AddrState != "" && want.AddrState != got.Addr.Status.String() {
			t.Errorf("cluster %d: addresses %s, want %s", i, got.Addr.Status, want.AddrState)
		}
		if addrs := addrsOf(got.Addr); want.AddrState == "" && !slices.Equal(addrs, want.Addrs) {
			t.Errorf("cluster %d: addresses %v, want %v", i, addrs, want.Addrs)
		}
		w := leaves[i].Weight
		if (w == nil) != (want.Weight == nil) || w != nil && *w != *want.Weight {
			t.Errorf("cluster %d: weight %v, want %v", i, w, want.Weight)
		}
	}
	if math.Abs(dead-c.Expect.DeadShare) > 1e-6 {
		t.Errorf("dead share %v, want %v", dead, c.Expect.DeadShare)
	}
}

func addrsOf(a namer.Addr) []string {
	addrs := []string{}
	for _, e := range a.Endpoints {
		addrs = append(addrs, e.Addr)
	}
	return addrs
}

func structure(t dtab.Tree[namer.Bound]) any {
	switch t.Kind {
	case dtab.Neg:
		return "neg"
	case dtab.Fail:
		return "fail"
	case dtab.Empty:
		return "empty"
	case dtab.Leaf:
		return map[string]any{"leaf": t.Leaf.ID.String()}
	case dtab.Union:
		var children []any
		for _, b := range t.Branches {
			children = append(children, map[string]any{"weight": b.Weight, "tree": structure(b.Tree)})
		}
		return map[string]any{"union": children}
	}
	return "an alternative is left in the tree"
}

func TestCorpusWatch(t *testing.T) {
	for _, c := range corpus(t, "watch") {
		t.Run(c.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.In)
				r := w.interpreter(c.In).Bind(t.Context(), dtab.MustParsePath(c.In.Path))
				var got []string
				var superseded <-chan struct{}
				look := func() {
					synctest.Wait()
					b, next := r.Load()
					if next == superseded {
						return // nobody was woken
					}
					superseded = next
					text := b.Status.String()
					if b.Status == namer.OK {
						text += " " + showIDs(b.Tree)
					}
					got = append(got, text)
				}
				look()
				for _, step := range c.In.Steps {
					w.apply(step)
					look()
				}
				var want []string
				for _, e := range c.Expect.Emits {
					want = append(want, strings.TrimSpace(e.State+" "+e.Tree))
				}
				if !slices.Equal(got, want) {
					t.Errorf("got %q\nwant %q", got, want)
				}
			})
		})
	}
}

func TestCorpusUtilityNamers(t *testing.T) {
	for _, c := range corpus(t, "utility_namers") {
		t.Run(c.ID, func(t *testing.T) {
			prefix, system := dtab.Path{namer.SystemPrefix}, namer.System{}
			answer := namer.NoAnswer()
			if path := dtab.MustParsePath(c.In.Path); path.HasPrefix(prefix) {
				var ok bool
				if answer, ok = system.Constant(prefix, path[1:]); !ok {
					t.Fatal("not known from the name alone")
				}
			}
			checkAnswer(t, c.Expect.corpusAnswer, answer)
		})
	}
}

func TestCorpusRewriteNamer(t *testing.T) {
	for _, c := range corpus(t, "rewrite_namer") {
		t.Run(c.ID, func(t *testing.T) {
			n, err := rewrite.New(c.In.Pattern, c.In.Name)
			if err != nil {
				t.Fatal(err)
			}
			answer, ok := n.Constant(dtab.MustParsePath("/#/io.l5d.rewrite"), dtab.MustParsePath(c.In.Path))
			if !ok {
				t.Fatal("not known from the name alone")
			}
			checkAnswer(t, c.Expect.corpusAnswer, answer)
		})
	}
}

func checkAnswer(t *testing.T, want corpusAnswer, a namer.Answer) {
	t.Helper()
	if a.Status != namer.OK {
		t.Fatalf("got %s, %v", a.Status, a.Err)
	}
	got := corpusAnswer{Result: map[dtab.Kind]string{dtab.Neg: "neg", dtab.Fail: "fail", dtab.Empty: "empty"}[a.Tree.Kind]}
	if a.Tree.Kind == dtab.Leaf {
		if b := a.Tree.Leaf.Bound; b != nil {
			got = corpusAnswer{Result: "bound", ID: b.ID.String(), Residual: b.Residual.String(), Addr: addrsOf(b.Addr)}
		} else {
			got = corpusAnswer{Result: "path", Path: a.Tree.Leaf.Path.String()}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
