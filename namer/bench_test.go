package namer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
)

// wideTable has n entries, five of which are rewrites on the way from /a1 to /#/m.
func wideTable(tb testing.TB, n int) dtab.Dtab {
	var b strings.Builder
	b.WriteString("/a1 => /a2; /a2 => /a3; /a3 => /a4; /a4 => /svc; ")
	for i := range n - 4 {
		fmt.Fprintf(&b, "/svc/service-%d => /#/m/service-%d;\n", i, i)
	}
	d, err := dtab.Parse(b.String())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// benchWide runs f on an interpreter under a table of 10,000 entries, with a name that takes 5 rewrites.
func benchWide(b *testing.B, f func(in *namer.Interpreter, name dtab.Path)) {
	services := manual.New(1)
	services.SetEndpoints("service-4711", "10.0.0.1:1")
	in := namer.NewInterpreter(namer.Options{
		Dtab:   watch.Fixed(namer.Table(wideTable(b, 10_000), nil)),
		Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/m"), Namer: services}},
	})
	defer in.Close()
	name := dtab.MustParsePath("/a1/service-4711")
	b.ReportAllocs()
	for b.Loop() {
		f(in, name)
	}
}

// A name is bound through 10,000 entries and 5 rewrites: what is measured is all of Bind, and the end of it.
func BenchmarkBind10000(b *testing.B) {
	benchWide(b, func(in *namer.Interpreter, name dtab.Path) {
		ctx, cancel := context.WithCancel(b.Context())
		if v, _ := in.Bind(ctx, name).Load(); v.Status != namer.OK || len(v.Clusters) != 1 {
			b.Fatalf("%s %v", v.Status, v.Err)
		}
		cancel()
	})
}

func BenchmarkExplain10000(b *testing.B) {
	benchWide(b, func(in *namer.Interpreter, name dtab.Path) {
		if _, err := in.Explain(b.Context(), name); err != nil {
			b.Fatal(err)
		}
	})
}

// A union of many services: one changes at a time, and what is measured is until the binding has followed.
func BenchmarkFollowWideUnion(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			services := manual.New(1)
			var branches []string
			for i := range n {
				services.SetEndpoints(fmt.Sprint("s", i), "10.9.9.9:1")
				branches = append(branches, fmt.Sprint("/#/m/s", i))
			}
			d, err := dtab.Parse("/svc => " + strings.Join(branches, " & "))
			if err != nil {
				b.Fatal(err)
			}
			in := namer.NewInterpreter(namer.Options{
				Dtab:   watch.Fixed(namer.Table(d, nil)),
				Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/m"), Namer: services}},
			})
			defer in.Close()
			r := in.Bind(b.Context(), dtab.MustParsePath("/svc"))
			i := 0
			for b.Loop() {
				_, superseded := r.Load()
				i++
				services.SetEndpoints(fmt.Sprint("s", i%n), fmt.Sprintf("10.0.%d.%d:1", i/200%250, i%200))
				<-superseded
			}
		})
	}
}
