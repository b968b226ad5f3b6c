package mesh

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"argosy/namerd/mesh/meshpb"
	"argosy/namerd/store"
	"argosy/namerd/wire"
)

func TestTables(t *testing.T) {
	r := newRig(t, `/svc => /#/m; /*/x\x2fy/\x2a => 0*/a & 0.125*/b | ! | ~ | $; / => (/a | /b) & /c`)
	l := dialLinkerd(t, r.address)
	const want = `0000000000000001 /svc=>/#/m;/*/\x78\x2f\x79/\x2a=>((0*/a & 0.125*/b) | ! | ~ | $);/=>(1*(/a | /b) & 1*/c)`
	body := encoded(t, &meshpb.DtabReq{Root: path("/default")})
	get := l.send("Delegator/GetDtab", body)
	isTable(t, get.message(), want)
	if code, text := get.status(); code != "0" {
		t.Errorf("status %s %s", code, text)
	}
	stream := l.send("Delegator/StreamDtab", body)
	isTable(t, stream.message(), want)
	r.put(t, "other", "/a => /b")
	stream.quiet(50 * time.Millisecond)
	r.put(t, "default", "")
	isTable(t, stream.message(), "0000000000000002 ")
	r.put(t, "default", "/a => /b")
	isTable(t, stream.message(), "0000000000000003 /a=>/b")
	r.put(t, "default", "/a => /b") // a new version is a change
	isTable(t, stream.message(), "0000000000000004 /a=>/b")
	if err := r.store.Delete(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if code, text := stream.status(); code != "5" || text != "Root not found" {
		t.Errorf("deleted: status %s %q", code, text)
	}
}

func TestTableErrors(t *testing.T) {
	r := newRig(t, "")
	c := meshpb.NewDelegatorClient(r.connect(t))
	for _, test := range []struct {
		root *meshpb.Path
		code codes.Code
		text string
	}{
		{nil, codes.InvalidArgument, "No namespace specified"},
		{path("/"), codes.InvalidArgument, "Invalid root: `/` must have exactly one segment"},
		{path("/a/b"), codes.InvalidArgument, "Invalid root: `/a/b` must have exactly one segment"},
		{path("/a%20b"), codes.InvalidArgument, `invalid namespace name: only letters, digits, '-' and '_' are allowed: "a%20b"`},
		{path("/missing"), codes.NotFound, "Root not found"},
	} {
		_, err := c.GetDtab(t.Context(), &meshpb.DtabReq{Root: test.root})
		if s := status.Convert(err); s.Code() != test.code || s.Message() != test.text {
			t.Errorf("%v: %v", test.root, err)
		}
		stream, err := c.StreamDtab(t.Context(), &meshpb.DtabReq{Root: test.root})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if s := status.Convert(err); s.Code() != test.code || s.Message() != test.text {
			t.Errorf("stream of %v: %v", test.root, err)
		}
	}
}

// broken is a store that observes what the test sends.
type broken struct {
	*store.Memory
	observe chan store.Observation
}

func (b broken) Observe(ctx context.Context, _ string, publish func(store.Observation)) {
	for {
		select {
		case o := <-b.observe:
			publish(o)
		case <-ctx.Done():
			return
		}
	}
}

func TestStoreInTrouble(t *testing.T) {
	b := broken{store.NewMemory(nil), make(chan store.Observation)}
	r := newRigOn(t, b, defaultLimits())
	c := meshpb.NewDelegatorClient(r.connect(t))
	l := dialLinkerd(t, r.address)
	stream := l.send("Delegator/StreamDtab", encoded(t, &meshpb.DtabReq{Root: path("/default")}))
	b.observe <- store.Observation{Err: errors.New("connection refused")}
	_, err := c.GetDtab(t.Context(), &meshpb.DtabReq{Root: path("/default")})
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "connection refused" {
		t.Error(err)
	}
	_, err = meshpb.NewInterpreterClient(r.connect(t)).GetBoundTree(t.Context(), bindReq(t, "/default", "/a", ""))
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "connection refused" {
		t.Error(err)
	}
	stream.quiet(50 * time.Millisecond)
	good := store.Observation{Known: true, Exists: true, Entry: store.Entry{Dtab: parseTable(t, "/a=>/b"), Version: "7"}}
	b.observe <- good
	isTable(t, stream.message(), "37 /a=>/b")
	good.Err = errors.New("connection refused")
	b.observe <- good // what was sent last stands
	stream.quiet(50 * time.Millisecond)
	if rsp, err := c.GetDtab(t.Context(), &meshpb.DtabReq{Root: path("/default")}); err != nil || string(rsp.GetDtab().GetVersion().GetId()) != "7" {
		t.Error(rsp, err)
	}
}

func delegateReq(t *testing.T, root, tree, table string) *meshpb.DelegateTreeReq {
	t.Helper()
	return &meshpb.DelegateTreeReq{Root: path(root), Tree: toTree(parseTree(t, tree)), Dtab: toTable(parseTable(t, table))}
}

// Every node tells the whole entry that led to it: a few kilobytes with many alternatives would come to gigabytes.
func TestDelegationsAreBounded(t *testing.T) {
	r := newRig(t, "/a => "+strings.Repeat("~ | ", 20_000)+"~")
	_, err := meshpb.NewDelegatorClient(r.connect(t)).GetDelegateTree(t.Context(), delegateReq(t, "/default", "/a", ""))
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != wire.ErrTooLarge.Error() {
		t.Errorf("got %.200v", err)
	}
}

func TestDelegations(t *testing.T) {
	r := newRig(t, "/cluster => /#/m; /svc => /cluster; /svc/redis => /cluster/a; /u => 0*/#/m/a & 2*/#/m/b; /e => $; /f => !; /n => ~; /bad => /$/x | /#/m/a")
	r.namer.SetEndpoints("a", "127.0.0.1:1")
	r.namer.SetEndpoints("b")
	r.namer.Remove("redis")
	r.namer.Remove("none")
	l := dialLinkerd(t, r.address)
	const no = `{/\x2f=>~} `
	for _, test := range []struct{ root, tree, local, want string }{
		{"/default", "/svc/redis", "", `/svc/redis` + no + `(` +
			`/cluster/a{/svc/redis=>/cluster/a} -> /#/m/a{/cluster=>/#/m} /#/m/a | ` +
			`/cluster/redis{/svc=>/cluster} -> /#/m/redis{/cluster=>/#/m} ~)`},
		{"/default", "/#/m/a/rest", "", `/#/m/a/rest` + no + `/#/m/a+/rest`},
		{"/default", "/nothing", "", `/nothing` + no + `~`},
		{"/missing", "/svc/redis", "", `/svc/redis` + no + `~`},
		{"/default", "/x", "/x => /#/m/a", `/x` + no + `-> /#/m/a{/x=>/#/m/a} /#/m/a`},
		{"/default", "/u", "", `/u` + no + `(0*/#/m/a{/u=>(0*/#/m/a & 2*/#/m/b)} /#/m/a & 2*/#/m/b{/u=>(0*/#/m/a & 2*/#/m/b)} /#/m/b)`},
		{"/default", "/e", "", `/e` + no + `-> /e{/e=>$} $`},
		{"/default", "/f", "", `/f` + no + `-> /f{/f=>!} !`},
		{"/default", "/n", "", `/n` + no + `-> /{/n=>~} ~`},
		{"/default", "~", "", `/` + no + `~`},
		{"/default", "/#/m/a | /#/m/none", "", `/` + no + `(/#/m/a` + no + `/#/m/a | /#/m/none` + no + `~)`},
		{"/default", "/bad", "", `/bad` + no + `(/$/x{/bad=>(/$/x | /#/m/a)} "BoundDelegateTree Exception: Unknown namer: x for path: /$/x" | ` +
			`/#/m/a{/bad=>(/$/x | /#/m/a)} /#/m/a)`},
	} {
		body := encoded(t, delegateReq(t, test.root, test.tree, test.local))
		for _, method := range []string{"Delegator/GetDelegateTree", "Delegator/StreamDelegateTree"} {
			c := l.send(method, body)
			isDelegateTree(t, c.message(), test.want)
			if code, text := c.status(); code != "0" { // the stream ends, too
				t.Errorf("%s of %s: status %s %s", method, test.tree, code, text)
			}
		}
	}
}

func TestDelegationErrors(t *testing.T) {
	r := newRig(t, "/loop => /loop")
	c := meshpb.NewDelegatorClient(r.connect(t))
	tree := toTree(parseTree(t, "/a"))
	for _, test := range []struct {
		request *meshpb.DelegateTreeReq
		code    codes.Code
		text    string
	}{
		{&meshpb.DelegateTreeReq{Tree: tree}, codes.InvalidArgument, "No namespace specified"},
		{&meshpb.DelegateTreeReq{Root: path("/default")}, codes.NotFound, "No name given"},
		{&meshpb.DelegateTreeReq{Root: path("/a/b"), Tree: tree}, codes.InvalidArgument, "Invalid root: `/a/b` must have exactly one segment"},
		{&meshpb.DelegateTreeReq{Root: path("/default"), Tree: &meshpb.PathNameTree{}}, codes.InvalidArgument, "illegal name tree: a node of no kind"},
		{&meshpb.DelegateTreeReq{Root: path("/default"), Tree: tree, Dtab: &meshpb.Dtab{Dentries: []*meshpb.Dtab_Dentry{{}}}},
			codes.InvalidArgument, "illegal dentry 0: it needs a prefix and a destination"},
		{delegateReq(t, "/default", "/loop", ""), codes.Internal, "Max recursion level reached."},
	} {
		_, err := c.GetDelegateTree(t.Context(), test.request)
		if s := status.Convert(err); s.Code() != test.code || s.Message() != test.text {
			t.Errorf("%v: %v", test.request, err)
		}
		stream, err := c.StreamDelegateTree(t.Context(), test.request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if s := status.Convert(err); s.Code() != test.code || s.Message() != test.text {
			t.Errorf("stream of %v: %v", test.request, err)
		}
	}
}

// What is not known in time is shown so; the rest of the delegation is there.
func TestDelegationOfWhatIsNotKnown(t *testing.T) {
	limits := defaultLimits()
	limits.delegate = time.Second
	r := newLimitedRig(t, "/x => /#/m/silent | /#/m/a", limits)
	r.namer.SetEndpoints("a")
	l := dialLinkerd(t, r.address)
	c := l.send("Delegator/GetDelegateTree", encoded(t, delegateReq(t, "/default", "/x", "")))
	const entry = `{/x=>(/#/m/silent | /#/m/a)} `
	isDelegateTree(t, c.message(), `/x{/\x2f=>~} (/#/m/silent`+entry+`"BoundDelegateTree Exception: it is not known yet" | /#/m/a`+entry+`/#/m/a)`)
}
