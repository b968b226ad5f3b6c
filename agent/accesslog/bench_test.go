package accesslog

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/namer"
)

func sample() Record {
	return Record{
		Time: time.Now(), Event: EventClose, ID: 4711, Listener: "redis", Client: netip.MustParseAddrPort("10.0.0.9:40000"),
		Name: dtab.MustParsePath("/svc/redis"), Rewrites: &namer.Rewrite{Text: "/svc => /#/static"}, Cluster: "/#/static/redis",
		Endpoint: "10.0.0.1:6379", Attempts: 1, In: 1000, Out: 2000, Connected: time.Millisecond, Answered: 2 * time.Millisecond,
		Duration: time.Second, Outcome: "ok", ClosedFirst: "client",
	}
}

// BenchmarkAdd is what a line costs whoever moves bytes.
func BenchmarkAdd(b *testing.B) {
	l := New(hclog.NewNullLogger(), &counter{})
	l.Use(&Sink{unclosed{io.Discard}, "nowhere"})
	r := sample()
	b.ReportAllocs()
	for b.Loop() {
		l.Add(r)
	}
	l.Close(patience)
	b.ReportMetric(float64(l.lost.(*counter).value())/float64(b.N), "lost/op")
}

// BenchmarkLine is what it costs the writer.
func BenchmarkLine(b *testing.B) {
	r := sample()
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = r.append(line[:0])
	}
}
