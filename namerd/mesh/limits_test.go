package mesh

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"argosy/dtab"
	"argosy/namerd/mesh/meshpb"
	"argosy/namerd/store"
)

// metric sums the samples of a metric, by the labels that they have.
func metric(t *testing.T, r *rig, name string) map[string]float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetValue())
			}
			found[strings.Join(labels, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return found
}

func gauge(t *testing.T, r *rig, name string) float64 {
	t.Helper()
	sum := 0.0
	for _, v := range metric(t, r, name) {
		sum += v
	}
	return sum
}

func TestMetrics(t *testing.T) {
	r := newRig(t, "")
	l := dialLinkerd(t, r.address)
	body := encoded(t, &meshpb.DtabReq{Root: path("/default")})
	stream := l.send("Delegator/StreamDtab", body)
	stream.message()
	l.send("Delegator/GetDtab", body).status()
	l.send("Delegator/GetDtab", encoded(t, &meshpb.DtabReq{Root: path("/missing")})).status()
	for i := range 100 {
		l.send(fmt.Sprintf("Delegator/Nonsense%d", i), body).status()
	}
	if got := metric(t, r, "argosy_namerd_mesh_streams"); got["StreamDtab"] != 1 || len(got) != 5 {
		t.Error(got)
	}
	stream.cancel()
	within(t, "no stream is open", func() bool { return gauge(t, r, "argosy_namerd_mesh_streams") == 0 })
	want := map[string]float64{"OK GetDtab": 1, "NotFound GetDtab": 1, "Unimplemented other": 100, "Canceled StreamDtab": 1}
	within(t, "all are counted", func() bool { return len(metric(t, r, "argosy_namerd_mesh_requests_total")) == len(want) })
	for labels, n := range metric(t, r, "argosy_namerd_mesh_requests_total") {
		if want[labels] != n {
			t.Errorf("%s: %v, not %v", labels, n, want[labels])
		}
	}
}

// counted is a store that tells how many are watching it.
type counted struct {
	*store.Memory
	watching *atomic.Int64
}

func (c counted) Observe(ctx context.Context, ns string, publish func(store.Observation)) {
	c.watching.Add(1)
	defer c.watching.Add(-1)
	c.Memory.Observe(ctx, ns, publish)
}

// A thousand streams that come and go leave nothing, however they end.
func TestStreamsLeaveNothing(t *testing.T) {
	tables := counted{store.NewMemory(map[string]dtab.Dtab{"default": parseTable(t, "/svc => /#/m")}), new(atomic.Int64)}
	r := newRigOn(t, tables, defaultLimits())
	r.namer.SetEndpoints("a", "127.0.0.1:1")
	bind, addr := encoded(t, bindReq(t, "/default", "/svc/a", "/x => /y")), encoded(t, replicasReq("/#/m/a"))
	table := encoded(t, &meshpb.DtabReq{Root: path("/default")})
	open := func(l *linkerd, n int) (calls []*call) {
		for i := range n {
			switch i % 3 {
			case 0:
				calls = append(calls, l.send("Interpreter/StreamBoundTree", bind))
			case 1:
				calls = append(calls, l.send("Resolver/StreamReplicas", addr))
			case 2:
				calls = append(calls, l.send("Delegator/StreamDtab", table))
			}
		}
		for _, c := range calls {
			c.message()
		}
		return calls
	}
	l := dialLinkerd(t, r.address)
	open(l, 3)
	l.close()
	closed := func() bool { return gauge(t, r, "argosy_namerd_mesh_connections") == 0 && len(r.namer.Watching()) == 0 }
	within(t, "what starts with the first connection has started", closed)
	time.Sleep(50 * time.Millisecond) // for goroutines that are about to end
	before := runtime.NumGoroutine()
	l = dialLinkerd(t, r.address)
	for _, c := range open(l, 500) {
		c.cancel()
	}
	within(t, "no stream is open", func() bool { return gauge(t, r, "argosy_namerd_mesh_streams") == 0 })
	open(l, 500)
	l.close() // all at once
	within(t, "no stream is open", func() bool { return gauge(t, r, "argosy_namerd_mesh_streams") == 0 })
	within(t, "nothing is watched", func() bool { return len(r.namer.Watching()) == 0 && tables.watching.Load() == 0 })
	within(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestTooManyStreams(t *testing.T) {
	limits := defaultLimits()
	limits.streams = 3
	r := newLimitedRig(t, "", limits)
	l := dialLinkerd(t, r.address)
	body := encoded(t, &meshpb.DtabReq{Root: path("/default")})
	var calls []*call
	for range 3 {
		c := l.send("Delegator/StreamDtab", body)
		c.message()
		calls = append(calls, c)
	}
	if code, text := l.send("Delegator/StreamDtab", body).status(); code != "8" || text != "too many streams are open" {
		t.Errorf("status %s %s", code, text)
	}
	if code, _ := l.send("Delegator/GetDtab", body).status(); code != "0" { // calls with one answer go on
		t.Errorf("status %s", code)
	}
	calls[0].cancel()
	within(t, "there is room", func() bool { return gauge(t, r, "argosy_namerd_mesh_streams") == 2 })
	l.send("Delegator/StreamDtab", body).message()
}

// A reader that is slow costs one message, and gets the newest when it reads on.
func TestSlowReader(t *testing.T) {
	r := newRig(t, "")
	set := func(n int) {
		addrs := make([]string, 3000) // of about 100 KB
		for i := range addrs {
			addrs[i] = fmt.Sprintf("10.1.%d.%d:%d", i/250, i%250, n)
		}
		r.namer.SetEndpoints("a", addrs...)
	}
	set(1)
	l := newLinkerd(t, r.address, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	stream := l.send("Resolver/StreamReplicas", encoded(t, replicasReq("/#/m/a")))
	stream.wait("a head", func() bool { return stream.head != nil })
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const last = 200
	for n := 2; n <= last; n++ {
		set(n)
		time.Sleep(time.Millisecond) // so that the stream has seen it
	}
	if grown := int64(heap()) - int64(before); grown > 10<<20 { // all of them are 20 MB and more
		t.Errorf("%d bytes more", grown)
	}
	l.mu.Lock()
	l.framer.WriteWindowUpdate(0, 1<<30)
	l.framer.WriteWindowUpdate(stream.id, 1<<30)
	l.mu.Unlock()
	seen := 0
	for {
		seen++
		if seen > 10 {
			t.Fatalf("%d messages, and not the newest", seen)
		}
		m, err := read(stream.message(), newShapes().replicas)
		if err != nil {
			t.Fatal(err)
		}
		text, err := showReplicas(m)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, fmt.Sprintf("10.1.0.0:%d ", last)) {
			return
		}
	}
}

// When the server stops, streams end with a status that says so, and a connection that does not follow is cut.
func TestStop(t *testing.T) {
	limits := defaultLimits()
	limits.grace = 2 * time.Second
	r := newLimitedRig(t, "/svc => /#/m", limits)
	l := dialLinkerd(t, r.address)
	stream := l.send("Delegator/StreamDtab", encoded(t, &meshpb.DtabReq{Root: path("/default")}))
	stream.message()
	waiting := l.send("Interpreter/StreamBoundTree", encoded(t, bindReq(t, "/default", "/svc/a", "")))
	waiting.wait("a head", func() bool { return waiting.head != nil })
	get := l.send("Interpreter/GetBoundTree", encoded(t, bindReq(t, "/default", "/svc/a", "")))

	stuck := newLinkerd(t, r.address, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf("10.1.%d.%d:1", i/250, i%250)
	}
	r.namer.SetEndpoints("b", many...)
	blocked := stuck.send("Resolver/StreamReplicas", encoded(t, replicasReq("/#/m/b")))
	blocked.wait("a head", func() bool { return blocked.head != nil })
	within(t, "all are under way", func() bool { return gauge(t, r, "argosy_namerd_mesh_streams") == 3 && len(r.namer.Watching()) == 2 })
	r.stop()
	for _, c := range []*call{stream, waiting, get} {
		if code, text := c.status(); code != "14" || text != "namerd is stopping" {
			t.Errorf("status %s %s", code, text)
		}
	}
	if conn, err := net.Dial("tcp", r.address); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

// A call waits for its answer, but not for ever.
func TestCallsEndInTime(t *testing.T) {
	limits := defaultLimits()
	limits.known = 200 * time.Millisecond
	r := newLimitedRig(t, "/svc => /#/m", limits)
	conn := r.connect(t)
	type answer struct {
		err error
		rsp *meshpb.Replicas
	}
	bound, replicas := make(chan answer, 1), make(chan answer, 1)
	began := time.Now()
	go func() {
		_, err := meshpb.NewInterpreterClient(conn).GetBoundTree(t.Context(), bindReq(t, "/default", "/svc/a", ""))
		bound <- answer{err: err}
	}()
	go func() {
		rsp, err := meshpb.NewResolverClient(conn).GetReplicas(t.Context(), replicasReq("/#/m/a"))
		replicas <- answer{err, rsp}
	}()
	if s := status.Convert((<-bound).err); s.Code() != codes.DeadlineExceeded || s.Message() != "the name is not known yet, after 200ms" {
		t.Error(s)
	}
	if a := <-replicas; a.err != nil || a.rsp.GetPending() == nil {
		t.Error(a)
	}
	if took := time.Since(began); took < limits.known {
		t.Error(took)
	}
}
