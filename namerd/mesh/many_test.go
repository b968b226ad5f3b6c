package mesh

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// Many streams, as ten Linkerds would have them, all get a change. ARGOSY_WATCHERS says how many; -v shows what they cost.
func TestManyStreams(t *testing.T) {
	n := 1000
	if text := os.Getenv("ARGOSY_WATCHERS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	r := newRig(t, "/svc => /#/m")
	r.namer.SetEndpoints("a", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
	r.namer.SetEndpoints("b")
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	all := func(calls []*call, is func(*testing.T, []byte, string), want string) {
		for i, c := range calls {
			if b := c.message(); i%(len(calls)/10) == 0 {
				is(t, b, want)
			}
		}
	}
	before := used()
	var binds, addrs []*call
	bind, addr := encoded(t, bindReq(t, "/default", "/svc/a", "")), encoded(t, replicasReq("/#/m/a"))
	for range 10 {
		l := dialLinkerd(t, r.address)
		for range n / 20 {
			binds = append(binds, l.send("Interpreter/StreamBoundTree", bind))
			addrs = append(addrs, l.send("Resolver/StreamReplicas", addr))
		}
	}
	all(binds, isBoundTree, "/#/m/a")
	all(addrs, isReplicas, "bound 10.0.0.1:1 10.0.0.2:1 10.0.0.3:1")
	t.Logf("%d streams: %d bytes each, with the test's own side", n, (used()-before)/uint64(n))

	began := time.Now()
	r.put(t, "default", "/svc => /#/m/b")
	all(binds, isBoundTree, "/#/m/b+/a")
	t.Logf("all %d have another table after %s", len(binds), time.Since(began))
	began = time.Now()
	r.namer.SetEndpoints("a", "10.0.0.4:1")
	all(addrs, isReplicas, "bound 10.0.0.4:1")
	t.Logf("all %d have other addresses after %s", len(addrs), time.Since(began))
}
