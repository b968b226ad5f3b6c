package agent

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/agent/identity"
	"argosy/internal/devca"
	"argosy/internal/watch"
)

// nobodyDenied is a judge to whom all are welcome, after a look at their certificates.
type nobodyDenied struct {
	*identity.Files
	changed *watch.Cell[uint64]
}

func (n nobodyDenied) Changed() watch.Reader[uint64] { return n.changed }

// BenchmarkReauthorise is one change of intentions, or of roots, while 10,000 connections of so many clients are open: an
// operation judges them all. It also tells what watching costs a connection in memory; what TLS and the relay need is the
// same without.
func BenchmarkReauthorise(b *testing.B) {
	const connections = 10_000
	for _, clients := range []int{1, 100, connections} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			cfg := baseConfig(nil)
			a, err := New(cfg, Deps{Logger: hclog.NewNullLogger(), Registry: prometheus.NewRegistry()})
			if err != nil {
				b.Fatal(err)
			}
			files, states := clientsOfBench(b, clients)
			for _, change := range []string{"intentions", "roots replaced"} {
				b.Run(change, func(b *testing.B) {
					judge := func() *liveIdentity {
						f, err := identity.NewFiles(files.Cert, files.Key, files.CA)
						if err != nil {
							b.Fatal(err)
						}
						return &liveIdentity{Identity: f, judge: nobodyDenied{f, watch.New(uint64(0), nil)}}
					}
					g := newGuard(a)
					now := judge()
					g.judge.Store(now)
					listener := &listener{name: "in", guard: g, config: config.Listener{}}
					all := make([]*connection, connections)
					before := heap()
					guests := make([]*guest, connections)
					for i := range all {
						guests[i] = g.enter(states[i%clients])
						guests[i].current()
					}
					perConnection := float64(heap()-before-8*connections) / connections
					for i := range all {
						all[i] = &connection{agent: a, listener: listener, hello: &hello{guest: guests[i]}}
						a.census.add(all[i])
					}
					d := newDocket()
					for b.Loop() {
						if change == "intentions" {
							now.judge.(nobodyDenied).changed.Update(func(n uint64) uint64 { return n + 1 })
						} else {
							b.StopTimer()
							now = judge()
							g.judge.Store(now)
							b.StartTimer()
						}
						g.review(d)
					}
					b.ReportMetric(perConnection, "B/connection")
					for _, c := range all {
						a.census.remove(c)
						c.unwatch()
					}
				})
			}
		})
	}
}

// BenchmarkWatchClient is what watching adds to a new connection.
func BenchmarkWatchClient(b *testing.B) {
	files, states := clientsOfBench(b, 1)
	s := states[0]
	f, err := identity.NewFiles(files.Cert, files.Key, files.CA)
	if err != nil {
		b.Fatal(err)
	}
	for _, others := range []bool{true, false} {
		b.Run(fmt.Sprintf("others=%v", others), func(b *testing.B) {
			g := &guard{guests: map[[sha256.Size]byte]*guest{}}
			g.judge.Store(&liveIdentity{judge: f})
			if others {
				g.enter(s)
			}
			for b.Loop() {
				x := g.enter(s)
				x.current()
				x.leave()
			}
		})
	}
}

// clientsOfBench are the files of a server, and the connections of so many clients with certificates from the same CA.
func clientsOfBench(b *testing.B, clients int) (devca.Files, []tls.ConnectionState) {
	b.Helper()
	ca, err := devca.New(time.Now)
	if err != nil {
		b.Fatal(err)
	}
	files, err := ca.Write(b.TempDir(), "fleet")
	if err != nil {
		b.Fatal(err)
	}
	states := make([]tls.ConnectionState, clients)
	for i := range states {
		leaf, err := ca.Issue(fmt.Sprint("web", i))
		if err != nil {
			b.Fatal(err)
		}
		block, _ := pem.Decode(leaf.Cert)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			b.Fatal(err)
		}
		states[i].PeerCertificates = []*x509.Certificate{cert}
	}
	return files, states
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
