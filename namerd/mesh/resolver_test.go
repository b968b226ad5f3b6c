package mesh

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"argosy/namer"
	"argosy/namerd/mesh/meshpb"
)

func replicasReq(id string) *meshpb.ReplicasReq { return &meshpb.ReplicasReq{Id: path(id)} }

func TestReplicas(t *testing.T) {
	r := newRig(t, "/#/m/a => /#/m/b; / => !") // tables take no part in it
	r.namer.SetEndpoints("a", "127.0.0.1:80", "[2001:db8::1]:65535", "10.0.0.1:0", "/run/x.sock", "[::ffff:10.0.0.2]:1", "[fe80::1%eth0]:1", "db.internal:5432")
	r.namer.SetEndpoints("none")
	r.namer.Remove("gone")
	r.namer.Fail("broken", errors.New("no leader \xff"))
	r.namer.SetAddr("rich", namer.Addr{Status: namer.OK, Meta: map[string]string{"authority": "web.example"}, Endpoints: []namer.Endpoint{
		{Addr: "10.0.0.1:1", Weight: 1, Meta: map[string]string{"node": "n1", "dc": "dc1", "": "\xff"}},
		{Addr: "10.0.0.2:1", Weight: 2},
		{Addr: "10.0.0.3:1", Weight: 0.5},
		{Addr: "10.0.0.4:1", Weight: 0},
	}})
	r.namer.SetAddr("zero", namer.Addr{Status: namer.OK, Endpoints: []namer.Endpoint{{Addr: "10.0.0.4:1", Weight: 0}}})
	r.namer.SetAddr("negative", namer.Addr{Status: namer.Neg})
	l := dialLinkerd(t, r.address)
	for id, want := range map[string]string{
		"/#/m/a":                  "bound 10.0.0.1:0 127.0.0.1:80 [2001:db8::1]:65535 10.0.0.2:1",
		"/#/m/none":               "bound ",
		"/#/m/gone":               "neg",
		"/#/m/negative":           "neg",
		"/#/m/broken":             "failed: no leader \uFFFD",
		"/#/m/rich":               "bound 10.0.0.1:1@n1[=\uFFFD dc=dc1 nodeName=n1] 10.0.0.2:1[endpoint_addr_weight=2.0] 10.0.0.3:1[endpoint_addr_weight=0.5][authority=web.example]",
		"/#/m/zero":               "bound 10.0.0.4:1[endpoint_addr_weight=0.0]",
		"/%/io.l5d.port/80/#/m/a": "bound 10.0.0.1:0 127.0.0.1:80 [2001:db8::1]:65535 10.0.0.2:1",
		"/$/inet/127.1/80":        "bound 127.0.0.1:80",
		"/$/nil":                  "bound ",
		"/$/fail":                 "failed: name tree failed",
		"/$/nonsense":             "failed: Unknown namer: nonsense for path: /$/nonsense",
		"/svc/a":                  "neg",
		"/#/unknown/a":            "neg",
	} {
		body := encoded(t, replicasReq(id))
		get := l.send("Resolver/GetReplicas", body)
		isReplicas(t, get.message(), want)
		if code, text := get.status(); code != "0" {
			t.Errorf("%s: status %s %s", id, code, text)
		}
		stream := l.send("Resolver/StreamReplicas", body)
		isReplicas(t, stream.message(), want)
		stream.cancel()
		if t.Failed() {
			t.Fatal(id)
		}
	}
}

// Without an id it is no error, but an answer.
func TestReplicasWithoutID(t *testing.T) {
	r := newRig(t, "")
	l := dialLinkerd(t, r.address)
	for _, method := range []string{"Resolver/GetReplicas", "Resolver/StreamReplicas"} {
		for _, request := range []*meshpb.ReplicasReq{{}, {Id: &meshpb.Path{}}} {
			c := l.send(method, encoded(t, request))
			isReplicas(t, c.message(), "failed: No ID provided")
			if code, text := c.status(); code != "0" {
				t.Errorf("%s: status %s %s", method, code, text)
			}
		}
	}
	c := meshpb.NewResolverClient(r.connect(t))
	_, err := c.GetReplicas(t.Context(), &meshpb.ReplicasReq{Id: &meshpb.Path{Elems: [][]byte{{}}}})
	if status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

func TestReplicasAreFollowed(t *testing.T) {
	r := newRig(t, "")
	l := dialLinkerd(t, r.address)
	stream := l.send("Resolver/StreamReplicas", encoded(t, replicasReq("/#/m/a")))
	isReplicas(t, stream.message(), "pending")
	r.namer.SetEndpoints("a", "10.0.0.1:1")
	isReplicas(t, stream.message(), "bound 10.0.0.1:1")
	r.namer.SetEndpoints("a", "10.0.0.1:1")
	stream.quiet(50 * time.Millisecond)
	r.namer.SetEndpoints("a", "10.0.0.1:1", "10.0.0.2:1")
	isReplicas(t, stream.message(), "bound 10.0.0.1:1 10.0.0.2:1")
	r.namer.SetAddr("a", namer.Addr{Status: namer.OK, Stale: true, Endpoints: []namer.Endpoint{{Addr: "10.0.0.1:1", Weight: 1}, {Addr: "10.0.0.2:1", Weight: 1}}})
	stream.quiet(50 * time.Millisecond) // there is no word for stale
	r.namer.Fail("a", errors.New("no leader"))
	isReplicas(t, stream.message(), "failed: no leader")
	r.namer.Forget("a") // pending again: what was sent last stands
	stream.quiet(50 * time.Millisecond)
	r.namer.SetEndpoints("a")
	isReplicas(t, stream.message(), "bound ")
	r.namer.Remove("a")
	isReplicas(t, stream.message(), "neg")
}
