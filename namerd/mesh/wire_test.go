package mesh

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/encoding/protowire"

	"argosy/namerd/mesh/meshpb"
)

// What Linkerd looks for in an answer besides its message.
func TestHeadAndTrailers(t *testing.T) {
	r := newRig(t, "/svc => /#/m")
	r.namer.SetEndpoints("a")
	l := dialLinkerd(t, r.address)
	for _, test := range []struct{ method, code string }{
		{"Interpreter/GetBoundTree", "0"},
		{"Interpreter/Nonsense", "12"},
		{"Nonsense/GetBoundTree", "12"},
		{"Delegator/GetDtab", "0"},
		{"Delegator/StreamDelegateTree", "5"}, // no name
	} {
		c := l.send(test.method, encoded(t, bindReq(t, "/default", "/svc/a", "")))
		if test.method == "Delegator/GetDtab" || test.method == "Delegator/StreamDelegateTree" {
			c = l.send(test.method, encoded(t, &meshpb.DtabReq{Root: path("/default")}))
		}
		code, _ := c.status()
		if code != test.code {
			t.Errorf("%s: status %s, not %s", test.method, code, test.code)
		}
		if c.headEnds || c.head[":status"] != "200" || c.head["content-type"] != "application/grpc+proto" || c.head["grpc-encoding"] != "" {
			t.Errorf("%s: head %v", test.method, c.head)
		}
	}
}

// Requests that are no good get an answer, and the connection stays good for others.
func TestRequestsThatAreNoGood(t *testing.T) {
	r := newRig(t, "/svc => /#/m")
	r.namer.SetEndpoints("a")
	l := dialLinkerd(t, r.address)
	const method = "/io.linkerd.mesh.Interpreter/GetBoundTree"
	good := encoded(t, bindReq(t, "/default", "/svc/a", ""))
	headers := func(name, value string) []hpack.HeaderField {
		all := []hpack.HeaderField{{Name: ":path", Value: method}, {Name: ":authority", Value: ""}, {Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}}
		fields := map[string]string{"content-type": "application/grpc+proto"}
		if strings.HasPrefix(name, ":") {
			for i := range all {
				if all[i].Name == name {
					all[i].Value = value
				}
			}
		} else {
			fields[name] = value
		}
		for k, v := range fields {
			all = append(all, hpack.HeaderField{Name: k, Value: v})
		}
		return all
	}
	for _, test := range []struct {
		what    string
		headers []hpack.HeaderField
		body    []byte
		code    string // of gRPC
		status  string // of HTTP, where there is no gRPC
	}{
		{"another type of gRPC", headers("content-type", "application/grpc"), frame(0, good), "0", ""},
		{"no gRPC", headers("content-type", "text/plain"), frame(0, good), "3", "415"},
		{"no POST", headers(":method", "GET"), frame(0, good), "13", "405"},
		{"compressed", headers("grpc-encoding", "gzip"), frame(1, good), "12", ""},
		{"compressed without a word", headers("x", "y"), frame(1, good), "13", ""},
		{"garbage", headers("x", "y"), frame(0, []byte("\xff\xff\xff")), "13", ""},
		{"no message", headers("x", "y"), nil, "13", ""},
		{"half a message", headers("x", "y"), frame(0, good)[:9], "13", ""},
		{"a length of 4 GB", headers("x", "y"), []byte{0, 0xff, 0xff, 0xff, 0xff}, "8", ""},
		{"a path of no method", headers(":path", "*"), frame(0, good), "12", ""},
		{"a time that has passed", headers("grpc-timeout", "1n"), frame(0, good), "4", ""},
	} {
		c := l.sendRaw(test.headers, test.body)
		c.wait(test.what, func() bool { return c.done })
		code := c.trailers["grpc-status"]
		if c.trailers == nil {
			code = c.head["grpc-status"]
		}
		if code != test.code || test.status != "" && c.head[":status"] != test.status {
			t.Errorf("%s: head %v, trailers %v, reset %v", test.what, c.head, c.trailers, c.reset)
		}
	}
	isBoundTree(t, l.send("Interpreter/GetBoundTree", good).message(), "/#/m/a")
}

// Trees as deep as a message can be, and paths with a million elements, are only work.
func TestHugeRequests(t *testing.T) {
	r := newRig(t, "")
	l := dialLinkerd(t, r.address)
	tree := encoded(t, toTree(parseTree(t, "/a")))
	for range 3000 { // alternatives of one tree
		tree = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), tree)
		tree = protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), tree)
	}
	root := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), encoded(t, path("/default")))
	body := protowire.AppendBytes(protowire.AppendTag(root, 2, protowire.BytesType), tree)
	code, _ := l.send("Delegator/GetDelegateTree", body).status()
	if code != "0" && code != "13" {
		t.Errorf("deep: status %s", code)
	}
	name := bytes.Repeat([]byte{0x0a, 1, 'a'}, 300_000)
	body = protowire.AppendBytes(protowire.AppendTag(root, 2, protowire.BytesType), name)
	isBoundTree(t, l.send("Interpreter/GetBoundTree", body).message(), "~")
	body = protowire.AppendBytes(protowire.AppendTag(root, 2, protowire.BytesType), bytes.Repeat(name, 2))
	c := l.send("Interpreter/GetBoundTree", body)
	c.wait("an end", func() bool { return c.done })
	if code := c.head["grpc-status"]; code != "8" {
		t.Errorf("1.8 MB: status %s", code)
	}
}

func TestConnectionsThatAreNoGood(t *testing.T) {
	r := newRig(t, "")
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", http2.ClientPreface + strings.Repeat("\xff", 100)} {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, text)
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: %v", text, err)
		}
		conn.Close()
	}
	within(t, "no connection is left", func() bool { return gauge(t, r, "argosy_namerd_mesh_connections") == 0 })
}

// Linkerd's failureThreshold makes it ping, also while no stream is open. It is not to be sent away for that.
func TestPings(t *testing.T) {
	r := newRig(t, "")
	l := dialLinkerd(t, r.address)
	for i := range 20 {
		l.mu.Lock()
		l.framer.WritePing(false, [8]byte{byte(i)})
		l.mu.Unlock()
	}
	within(t, "pongs", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.pongs == 20
	})
	isTable(t, l.send("Delegator/GetDtab", encoded(t, &meshpb.DtabReq{Root: path("/default")})).message(), "0000000000000001 ")
	if l.goAway != nil {
		t.Errorf("sent away: %v", l.goAway)
	}
}

// A peer that answers no pings is gone.
func TestDeadPeers(t *testing.T) {
	limits := defaultLimits()
	limits.pingAfter, limits.pingTimeout = time.Second, 3*time.Second
	r := newLimitedRig(t, "", limits)
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, http2.ClientPreface)
	http2.NewFramer(conn, nil).WriteSettings()
	alive := dialLinkerd(t, r.address)
	stream := alive.send("Delegator/StreamDtab", encoded(t, &meshpb.DtabReq{Root: path("/default")}))
	within(t, "two connections", func() bool { return gauge(t, r, "argosy_namerd_mesh_connections") == 2 })
	within(t, "one is found dead", func() bool { return gauge(t, r, "argosy_namerd_mesh_connections") == 1 })
	isTable(t, stream.message(), "0000000000000001 ")
	stream.quiet(0)
}
