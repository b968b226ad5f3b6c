package mesh

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namerd/mesh/meshpb"
)

func path(text string) *meshpb.Path { return toPath(dtab.MustParsePath(text)) }

func bindReq(t *testing.T, root, name, table string) *meshpb.BindReq {
	t.Helper()
	return &meshpb.BindReq{Root: path(root), Name: path(name), Dtab: toTable(parseTable(t, table))}
}

const bindTable = `/svc => /#/m;
	/host/* => /svc;
	/both => 0.75 * /#/m/a & 0.25 * /#/m/b;
	/zero => 0 * /#/m/a & /#/m/b;
	/empty => $; /fail => !; /half => /#/m/a & $;
	/first => /#/m/none | /#/m/a | /#/m/b`

func TestBoundTrees(t *testing.T) {
	r := newRig(t, bindTable)
	r.namer.SetEndpoints("a", "127.0.0.1:1")
	r.namer.SetEndpoints("b")
	r.namer.Remove("none")
	l := dialLinkerd(t, r.address)
	for _, test := range []struct{ root, name, local, want string }{
		{"/default", "/svc/a", "", "/#/m/a"},
		{"/default", "/svc/a/x/y", "", "/#/m/a+/x/y"},
		{"/default", "/svc/b", "", "/#/m/b"}, // without endpoints it is a leaf all the same
		{"/default", "/svc/none", "", "~"},
		{"/default", "/nothing", "", "~"},
		{"/default", "/empty", "", "$"},
		{"/default", "/fail", "", "!"},
		{"/default", "/first", "", "/#/m/a"},
		{"/default", "/both", "", "(0.75*/#/m/a & 0.25*/#/m/b)"},
		{"/default", "/zero", "", "(0*/#/m/a & 1*/#/m/b)"},
		{"/default", "/half", "", "(1*/#/m/a & 1*$)"},
		{"/default", "/host/x/a", "", "/#/m/a"},
		{"/default", "/svc/a", "/svc/a => /#/m/b", "/#/m/b"}, // the request's entries win
		{"/default", "/svc/a", "/svc => ~", "/#/m/a"},
		{"/default", "/svc/a", "/svc => !", "!"},
		{"/default", "/$/inet/127.1/80/rest", "", "/$/inet/127.1/80+/rest"},
		{"/missing", "/svc/a", "", "~"}, // a namespace that is not there is the empty table
		{"/missing", "/svc/a", "/svc => /#/m", "/#/m/a"},
		{`/default`, `/svc/a/\x00\xff\x2f`, "", `/#/m/a+/\x00\xff\x2f`},
	} {
		body := encoded(t, bindReq(t, test.root, test.name, test.local))
		get := l.send("Interpreter/GetBoundTree", body)
		isBoundTree(t, get.message(), test.want)
		if code, text := get.status(); code != "0" {
			t.Errorf("%s: status %s %s", test.name, code, text)
		}
		stream := l.send("Interpreter/StreamBoundTree", body)
		isBoundTree(t, stream.message(), test.want)
		stream.cancel()
		if t.Failed() {
			t.Fatalf("%+v", test)
		}
	}
}

// What is absent from a request is absent, and no error by itself.
func TestBindWithoutTable(t *testing.T) {
	r := newRig(t, bindTable)
	r.namer.SetEndpoints("a")
	c := meshpb.NewInterpreterClient(r.connect(t))
	rsp, err := c.GetBoundTree(t.Context(), &meshpb.BindReq{Root: path("/default"), Name: path("/svc/a")})
	if err != nil || rsp.GetTree().GetLeaf() == nil {
		t.Errorf("%v, %v", rsp, err)
	}
}

func TestBindErrors(t *testing.T) {
	r := newRig(t, bindTable)
	r.namer.Fail("broken", errors.New("no leader"))
	root, name := path("/default"), path("/svc/a")
	leaf := &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Leaf_{Leaf: &meshpb.PathNameTree_Leaf{Id: name}}}
	prefix := &meshpb.Dtab_Dentry_Prefix{}
	table := func(e *meshpb.Dtab_Dentry) *meshpb.BindReq {
		return &meshpb.BindReq{Root: root, Name: name, Dtab: &meshpb.Dtab{Dentries: []*meshpb.Dtab_Dentry{e}}}
	}
	union := func(w *float64) *meshpb.PathNameTree {
		return &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Union_{Union: &meshpb.PathNameTree_Union{
			Trees: []*meshpb.PathNameTree_Union_Weighted{{Weight: w, Tree: leaf}},
		}}}
	}
	nan := 0.0
	nan /= nan
	tests := []struct {
		request *meshpb.BindReq
		code    codes.Code
		text    string
	}{
		{&meshpb.BindReq{}, codes.InvalidArgument, "No namespace specified"},
		{&meshpb.BindReq{Name: name}, codes.InvalidArgument, "No namespace specified"},
		{&meshpb.BindReq{Root: root}, codes.NotFound, "No name given"},
		{&meshpb.BindReq{Root: root, Name: path("/")}, codes.NotFound, "No name given"},
		{&meshpb.BindReq{Root: path("/"), Name: name}, codes.InvalidArgument, "Invalid root: `/` must have exactly one segment"},
		{&meshpb.BindReq{Root: path("/a/b"), Name: name}, codes.InvalidArgument, "Invalid root: `/a/b` must have exactly one segment"},
		{&meshpb.BindReq{Root: path(`/a\xff`), Name: name}, codes.InvalidArgument,
			`invalid namespace name: only letters, digits, '-' and '_' are allowed: "a\xff"`},
		{&meshpb.BindReq{Root: root, Name: &meshpb.Path{Elems: [][]byte{[]byte("a"), nil}}}, codes.InvalidArgument, "illegal path: element 1 is empty"},
		{table(&meshpb.Dtab_Dentry{Prefix: prefix}), codes.InvalidArgument, "illegal dentry 0: it needs a prefix and a destination"},
		{table(&meshpb.Dtab_Dentry{Dst: leaf}), codes.InvalidArgument, "illegal dentry 0: it needs a prefix and a destination"},
		{table(&meshpb.Dtab_Dentry{Dst: leaf, Prefix: &meshpb.Dtab_Dentry_Prefix{Elems: []*meshpb.Dtab_Dentry_Prefix_Elem{{}}}}),
			codes.InvalidArgument, "illegal prefix: element 0 is empty"},
		{table(&meshpb.Dtab_Dentry{Prefix: prefix, Dst: &meshpb.PathNameTree{}}), codes.InvalidArgument, "illegal name tree: a node of no kind"},
		{table(&meshpb.Dtab_Dentry{Prefix: prefix, Dst: &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Leaf_{Leaf: &meshpb.PathNameTree_Leaf{}}}}),
			codes.InvalidArgument, "illegal name tree: a leaf without a path"},
		{table(&meshpb.Dtab_Dentry{Prefix: prefix, Dst: union(proto.Float64(-1))}), codes.InvalidArgument, "illegal name tree: -1 is no weight"},
		{table(&meshpb.Dtab_Dentry{Prefix: prefix, Dst: union(&nan)}), codes.InvalidArgument, "illegal name tree: NaN is no weight"},
		{bindReq(t, "/default", "/svc/broken", ""), codes.Internal, "no leader"},
		{bindReq(t, "/default", "/svc/a", "/svc => /svc"), codes.Internal, "Max recursion level: 100 reached in Namer lookup"},
		{bindReq(t, "/default", "/$/nonsense", ""), codes.Internal, "Unknown namer: nonsense for path: /$/nonsense"},
	}
	c := meshpb.NewInterpreterClient(r.connect(t))
	for _, test := range tests {
		_, err := c.GetBoundTree(t.Context(), test.request)
		if s := status.Convert(err); s.Code() != test.code || s.Message() != test.text {
			t.Errorf("%v: %v\nnot %v %s", test.request, err, test.code, test.text)
		}
		if test.code == codes.Internal { // the stream stays, and waits for better times
			continue
		}
		stream, err := c.StreamBoundTree(t.Context(), test.request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if s := status.Convert(err); s.Code() != test.code || s.Message() != test.text {
			t.Errorf("stream of %v: %v\nnot %v %s", test.request, err, test.code, test.text)
		}
	}
}

func TestBoundTreeIsFollowed(t *testing.T) {
	r := newRig(t, "/svc => /#/m")
	r.namer.SetEndpoints("a", "127.0.0.1:1")
	r.namer.SetEndpoints("b", "127.0.0.1:2")
	l := dialLinkerd(t, r.address)
	stream := l.send("Interpreter/StreamBoundTree", encoded(t, bindReq(t, "/default", "/svc/a", "")))
	isBoundTree(t, stream.message(), "/#/m/a")

	r.namer.SetEndpoints("a", "127.0.0.1:3")     // addresses are not in it
	r.put(t, "default", "/svc => /#/m ; /x=>/y") // nor is the table
	stream.quiet(50 * time.Millisecond)

	r.put(t, "default", "/svc => 0.5*/#/m & 0.5*/#/m/b")
	isBoundTree(t, stream.message(), "(0.5*/#/m/a & 0.5*/#/m/b+/a)")
	r.put(t, "default", "/svc => 0.25*/#/m & 0.75*/#/m/b") // the weights are
	isBoundTree(t, stream.message(), "(0.25*/#/m/a & 0.75*/#/m/b+/a)")
	r.put(t, "default", "/svc/a => /#/m/b/y")
	isBoundTree(t, stream.message(), "/#/m/b+/y")
	r.put(t, "default", "/svc/a => /#/m/b/z") // and what is left over
	isBoundTree(t, stream.message(), "/#/m/b+/z")
	if err := r.store.Delete(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	isBoundTree(t, stream.message(), "~")
	r.put(t, "default", "/svc => /#/m")
	isBoundTree(t, stream.message(), "/#/m/a")

	r.namer.Fail("a", errors.New("no leader")) // trouble: what was sent last stands
	stream.quiet(50 * time.Millisecond)
	r.namer.SetEndpoints("a", "127.0.0.1:4")
	stream.quiet(50 * time.Millisecond)
	r.namer.Fail("a", errors.New("no leader"))
	r.namer.Remove("a")
	isBoundTree(t, stream.message(), "~")
}

// A name that is pending gets its head at once, and its value when it is known; a name that failed likewise.
func TestBoundTreeIsWaitedFor(t *testing.T) {
	r := newRig(t, "/svc => /#/m")
	r.namer.Fail("b", errors.New("no leader"))
	l := dialLinkerd(t, r.address)
	for _, name := range []string{"a", "b"} {
		body := encoded(t, bindReq(t, "/default", "/svc/"+name, ""))
		stream := l.send("Interpreter/StreamBoundTree", body)
		stream.wait("a head", func() bool { return stream.head != nil })
		get := l.send("Interpreter/GetBoundTree", encoded(t, bindReq(t, "/default", "/svc/a", "")))
		if name == "a" {
			get.quiet(50 * time.Millisecond)
		}
		stream.quiet(50 * time.Millisecond)
		r.namer.SetAddr(name, namer.Addr{Status: namer.OK})
		isBoundTree(t, stream.message(), "/#/m/"+name)
		isBoundTree(t, get.message(), "/#/m/a")
	}
}
