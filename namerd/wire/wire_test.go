package wire

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"argosy/dtab"
	"argosy/namer"
)

func endpoint(addr string, weight float64, meta map[string]string) namer.Endpoint {
	return namer.Endpoint{Addr: addr, Weight: weight, Meta: meta}
}

func ok(endpoints ...namer.Endpoint) namer.Addr {
	return namer.Addr{Status: namer.OK, Endpoints: endpoints}
}

func leaf(id, residual string, a namer.Addr) dtab.Tree[namer.Bound] {
	return dtab.LeafOf(namer.Bound{ID: dtab.MustParsePath(id), Residual: dtab.MustParsePath(residual), Addr: a})
}

func TestAddr(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]namer.Addr{
		`{"type":"bound","addrs":[{"ip":"127.0.0.1","port":1,"meta":{}}],"meta":{}}`: ok(endpoint("127.0.0.1:1", 1, nil)),
		`{"type":"bound","addrs":[],"meta":{}}`:                                      ok(),
		`{"type":"bound","addrs":[{"ip":"10.0.0.1","port":8080,"meta":{"endpoint_addr_weight":2.0}}],"meta":{"authority":"acme.co"}}`: {
			Status: namer.OK, Endpoints: []namer.Endpoint{endpoint("10.0.0.1:8080", 2, nil)}, Meta: map[string]string{"authority": "acme.co"}},
		`{"type":"bound","addrs":[{"ip":"::1","port":65535,"meta":{"a<b>&c":"é","endpoint_addr_weight":0.25,"nodeName":"n1"}}],"meta":{}}`: ok(
			endpoint("[::1]:65535", 0.25, map[string]string{"node": "n1", "a<b>&c": "é"})),
		`{"type":"neg"}`:     {Status: namer.Neg},
		`{"type":"pending"}`: {},
		`{"type":"failed","cause":"malformed address: x \"y\""}`: {Status: namer.Failed, Err: errors.New(`malformed address: x "y"`)},
	} {
		if got := string(Addr(a)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		back, err := DecodeAddr([]byte(want))
		if err != nil || !back.Equal(a) {
			t.Errorf("%s comes back as %+v, %v", want, back, err)
		}
	}
}

// What a reader could not take for an address is left out; and nothing that a catalog tells takes the place of a weight.
func TestAddrLeavesOut(t *testing.T) {
	t.Parallel()
	a := ok(endpoint("/run/a.sock", 1, nil), endpoint("host.example:80", 1, nil), endpoint("[fe80::1%eth0]:80", 1, nil),
		endpoint("[::ffff:10.0.0.9]:80", 1, map[string]string{"endpoint_addr_weight": "heavy"}))
	const want = `{"type":"bound","addrs":[{"ip":"10.0.0.9","port":80,"meta":{}}],"meta":{}}`
	if got := string(Addr(a)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// Linkerd looks for the authority at the set; a namer may tell it of each endpoint.
func TestAuthority(t *testing.T) {
	t.Parallel()
	of := func(host string) map[string]string { return map[string]string{"authority": host} }
	set := ok(endpoint("10.0.0.1:1", 1, of("a")), endpoint("10.0.0.2:1", 1, of("a")))
	const each = `{"type":"bound","addrs":[{"ip":"10.0.0.1","port":1,"meta":{"authority":"a"}},{"ip":"10.0.0.2","port":1,"meta":{"authority":"`
	if got := string(Addr(set)); got != each+`a"}}],"meta":{"authority":"a"}}` {
		t.Error(got)
	}
	set.Endpoints[1].Meta = of("b")
	if got := string(Addr(set)); got != each+`b"}}],"meta":{}}` {
		t.Error(got)
	}
	set.Meta = of("c")
	if got := string(Addr(set)); got != each+`b"}}],"meta":{"authority":"c"}}` {
		t.Error(got)
	}
}

func TestDecodeAddrOfOthers(t *testing.T) {
	t.Parallel()
	a, err := DecodeAddr([]byte(`{"new":[1],"type":"bound","addrs":[
		{"ip":"10.0.0.2","port":2,"meta":{"nodeName":"n","deep":{"a":[1]},"n":3,"endpoint_addr_weight":"5"}},
		{"ip":"10.0.0.1","port":1,"meta":{"endpoint_addr_weight":3}}, {"ip":"10.0.0.3","port":3}],"meta":{"authority":"x","y":{}}}`))
	want := namer.Addr{Status: namer.OK, Meta: map[string]string{"authority": "x"}, Endpoints: []namer.Endpoint{
		endpoint("10.0.0.1:1", 3, nil), endpoint("10.0.0.2:2", 1, map[string]string{"node": "n"}), endpoint("10.0.0.3:3", 1, nil)}}
	if err != nil || !a.Equal(want) {
		t.Errorf("%+v, %v", a, err)
	}
	for _, bad := range []string{``, `null`, `[]`, `error`, `{}`, `{"type":"x"}`, `{"type":"bound","addrs":[{"ip":"host","port":1}]}`,
		`{"type":"bound","addrs":[{"ip":"10.0.0.1","port":65536}]}`, `{"type":"bound","addrs":[{"ip":"10.0.0.1","port":-1}]}`,
		`{"type":"bound","addrs":[{"ip":"10.0.0.1","port":"1"}]}`, `{"type":"neg"} {"type":"neg"}`} {
		if a, err := DecodeAddr([]byte(bad)); err == nil {
			t.Errorf("%s is taken for %+v", bad, a)
		}
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	one := ok(endpoint("127.0.0.1:1", 1, nil))
	heavy := dtab.MustParsePath("/#/b")
	weight := 0.9
	for want, tree := range map[string]dtab.Tree[namer.Bound]{
		`{"type":"neg"}`:   {},
		`{"type":"fail"}`:  {Kind: dtab.Fail},
		`{"type":"empty"}`: {Kind: dtab.Empty},
		`{"type":"leaf","bound":{"addr":{"type":"bound","addrs":[{"ip":"127.0.0.1","port":1,"meta":{}}],"meta":{}},"id":"/#/io.l5d.namer/foo","path":"/"}}`: leaf("/#/io.l5d.namer/foo", "/", one),
		`{"type":"leaf","bound":{"addr":{"type":"neg"},"id":"/#/x/\\xff\\x22","path":"/a/b"}}`:                                                              leaf(`/#/x/\xff\x22`, "/a/b", namer.Addr{Status: namer.Neg}),
		`{"type":"union","union":[{"weight":0.9,"tree":{"type":"leaf","bound":{"addr":{"type":"bound","addrs":[],"meta":{"namer_nametree_weight":0.9}},"id":"/#/b","path":"/"}}},{"weight":9.0,"tree":{"type":"empty"}}]}`: {
			Kind: dtab.Union, Branches: []dtab.Branch[namer.Bound]{
				{Weight: 0.9, Tree: dtab.LeafOf(namer.Bound{ID: heavy, Addr: ok(), Weight: &weight})},
				{Weight: 9, Tree: dtab.Tree[namer.Bound]{Kind: dtab.Empty}}}},
		`{"type":"alt","alt":[{"type":"neg"},{"type":"fail"}]}`: {Kind: dtab.Alt, Branches: []dtab.Branch[namer.Bound]{
			{Weight: 1}, {Weight: 1, Tree: dtab.Tree[namer.Bound]{Kind: dtab.Fail}}}},
	} {
		if got := encoded(t, tree); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		back, err := DecodeTree([]byte(want))
		if err != nil || !dtab.EqualTrees(back, tree, namer.Bound.Equal) {
			t.Errorf("%s comes back as %+v, %v", want, back, err)
		}
	}
	for _, bad := range []string{``, `error`, `{}`, `{"type":"leaf"}`, `{"type":"exception","message":"x"}`, `{"type":"union","union":[{"weight":-1.0,"tree":{"type":"neg"}}]}`,
		`{"type":"leaf","bound":{"addr":{"type":"neg"},"id":"x","path":"/"}}`, `{"type":"leaf","bound":{"addr":{"type":"neg"},"id":"/x","path":"x"}}`,
		`{"type":"leaf","bound":{"addr":{},"id":"/x","path":"/"}}`, `{"type":"union","union":[{"weight":1.0}]}`, strings.Repeat(`{"type":"alt","alt":[`, 20_000)} {
		if tree, err := DecodeTree([]byte(bad)); err == nil {
			t.Errorf("%.100s is taken for %+v", bad, tree)
		}
	}
}

// The tree of ids is the same whatever the addresses are, and differs where weights do that print the same.
func TestTreeOfIDs(t *testing.T) {
	t.Parallel()
	a, b := leaf("/#/x", "/", ok(endpoint("127.0.0.1:1", 1, nil))), leaf("/#/x", "/", namer.Addr{Status: namer.Neg})
	if x, y := string(TreeOfIDs(a)), string(TreeOfIDs(b)); x != y {
		t.Errorf("%s\n%s", x, y)
	}
	union := func(w float64) string {
		return string(TreeOfIDs(dtab.Tree[namer.Bound]{Kind: dtab.Union, Branches: []dtab.Branch[namer.Bound]{{Weight: w, Tree: a}, {Weight: 1, Tree: a}}}))
	}
	if union(0.001) == union(0.002) || string(TreeOfIDs(a)) == string(TreeOfIDs(leaf("/#/x", "/y", namer.Addr{}))) {
		t.Error("different trees are taken for the same")
	}
}

func TestDouble(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0.0", 1: "1.0", 2: "2.0", 0.9: "0.9", 0.125: "0.125", 0.001: "0.001", 0.0009: "9.0E-4", 1234567: "1234567.0", 9999999.5: "9999999.5",
		1e7: "1.0E7", 12345678: "1.2345678E7", 1.5e300: "1.5E300", 1e-10: "1.0E-10", math.Inf(1): "1.7976931348623157E308", 1e100: "1.0E100",
	} {
		if got := string(Encode(Double(v))); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}

func TestDelegation(t *testing.T) {
	t.Parallel()
	table, err := dtab.Parse("/a=>~;/b=>! | /$/fail/x;/c=>0.3*/x & /y")
	if err != nil {
		t.Fatal(err)
	}
	weight := 0.3
	bound := &namer.Bound{ID: dtab.MustParsePath("/#/x"), Addr: ok(), Weight: &weight}
	p := dtab.MustParsePath
	x := &namer.Explanation{Table: table, Root: namer.Step{Kind: namer.StepAlt, Path: p("/r"), Entry: namer.NoEntry, Steps: []namer.Step{
		{Kind: namer.StepNeg, Entry: 0}, {Kind: namer.StepFail, Path: p("/b"), Entry: 1}, {Kind: namer.StepFail, Path: p("/$/fail/x"), Entry: 1},
		{Kind: namer.StepEmpty, Path: p("/e"), Entry: namer.NoEntry}, {Kind: namer.StepException, Path: p("/e"), Entry: namer.NoEntry, Err: errors.New("no")},
		{Kind: namer.StepUnion, Path: p("/c"), Entry: namer.NoEntry, Steps: []namer.Step{
			{Kind: namer.StepLeaf, Path: p("/#/x"), Entry: 2, Weight: 0.3, Bound: bound},
			{Kind: namer.StepDelegate, Path: p("/y"), Entry: namer.NoEntry, Weight: 1, Steps: []namer.Step{{Kind: namer.StepWaiting, Path: p("/z"), Entry: namer.NoEntry}}}}},
	}}}
	const want = `{"type":"alt","path":"/r","alt":[{"type":"neg","path":"~","dentry":{"prefix":"/a","dst":"~"}},` +
		`{"type":"fail","path":"!","dentry":{"prefix":"/b","dst":"! | /$/fail/x"}},{"type":"fail","path":"/$/fail/x","dentry":{"prefix":"/b","dst":"! | /$/fail/x"}},` +
		`{"type":"empty","path":"/e"},{"type":"exception","path":"/e","message":"no"},{"type":"union","path":"/c","union":[` +
		`{"weight":0.3,"tree":{"type":"leaf","path":"/#/x","dentry":{"prefix":"/c","dst":"0.30*/x & /y"},"bound":{"addr":{"type":"bound","addrs":[],"meta":{}},"id":"/#/x","path":"/"}}},` +
		`{"weight":1.0,"tree":{"type":"delegate","path":"/y","delegate":{"type":"exception","path":"/z","message":"not known yet"}}}]}]}`
	got, err := Delegation(x)
	if err != nil || string(got) != want {
		t.Errorf("got  %s %v\nwant %s", got, err, want)
	}
	n, err := DecodeDelegation([]byte(want))
	if err != nil || string(Encode(n)) != want {
		t.Errorf("%s, %v", Encode(n), err)
	}
	if a, err := n.Alt[5].Union[0].Tree.Bound.Endpoints(); err != nil || a.Status != namer.OK {
		t.Error(a, err)
	}
	for _, bad := range []string{``, `{}`, `[]`, `Request timed out.`} {
		if n, err := DecodeDelegation([]byte(bad)); err == nil {
			t.Errorf("%s is taken for %+v", bad, n)
		}
	}
}

func encoded(t *testing.T, tree dtab.Tree[namer.Bound]) string {
	t.Helper()
	body, err := Tree(tree)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func TestTreesAreBounded(t *testing.T) {
	const many = 2000
	one := leaf("/a", "/", ok(make([]namer.Endpoint, many)...))
	union := dtab.Tree[namer.Bound]{Kind: dtab.Union, Branches: slices.Repeat([]dtab.Branch[namer.Bound]{{Weight: 1, Tree: one}}, many)}
	if body, err := Tree(union); err == nil {
		t.Errorf("%d bytes", len(body))
	}
	union.Branches = union.Branches[:100]
	encoded(t, union)
}

// Every node tells the whole entry that led to it, and every leaf all its endpoints.
func TestDelegationsAreBounded(t *testing.T) {
	const many = 20_000
	wide, err := dtab.Parse("/a => " + strings.Repeat("~ | ", many) + "~")
	if err != nil {
		t.Fatal(err)
	}
	step := namer.Step{Kind: namer.StepAlt, Path: dtab.Path{"a"}, Entry: namer.NoEntry}
	large := &namer.Bound{ID: dtab.Path{"a"}, Addr: ok(make([]namer.Endpoint, many)...)}
	for about, child := range map[string]namer.Step{
		"one entry of many nodes": {Kind: namer.StepNeg},
		"one set of many leaves":  {Kind: namer.StepLeaf, Entry: namer.NoEntry, Bound: large},
	} {
		step.Steps = slices.Repeat([]namer.Step{child}, many)
		for _, kind := range []namer.StepKind{namer.StepAlt, namer.StepUnion} {
			step.Kind = kind
			inner := namer.Step{Kind: namer.StepDelegate, Path: dtab.Path{"b"}, Entry: namer.NoEntry, Steps: []namer.Step{step}}
			allocated := testing.AllocsPerRun(1, func() {
				if body, err := Delegation(&namer.Explanation{Table: wide, Root: inner}); !errors.Is(err, ErrTooLarge) {
					t.Errorf("%s: %d bytes, %v", about, len(body), err)
				}
			})
			if allocated > 2_000_000 {
				t.Errorf("%s: %v allocations", about, allocated)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"type":"bound","addrs":[{"ip":"127.0.0.1","port":1,"meta":{"endpoint_addr_weight":2.0}}],"meta":{"a":"b"}}`,
		`{"type":"union","union":[{"weight":1.0,"tree":{"type":"leaf","bound":{"addr":{"type":"neg"},"id":"/a","path":"/"}}}]}`, `{"type":"failed","cause":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if a, err := DecodeAddr(body); err == nil {
			once := Addr(a) // which may tell of the set what was told of all endpoints
			again, err := DecodeAddr(once)
			if twice := Addr(again); err != nil || string(twice) != string(once) {
				t.Errorf("%s comes back as %s, %v", once, twice, err)
			}
		}
		if tree, err := DecodeTree(body); err == nil {
			once := encoded(t, tree)
			again, err := DecodeTree([]byte(once))
			if twice := encoded(t, again); err != nil || twice != once {
				t.Errorf("%s comes back as %s, %v", once, twice, err)
			}
		}
		_, _ = DecodeDelegation(body)
	})
}
