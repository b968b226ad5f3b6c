package agent

import (
	"context"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
)

// fixedBinder gives every name the same live binding.
type fixedBinder struct{ watch.Reader[namer.Binding] }

func (b fixedBinder) Bind(context.Context, dtab.Path) watch.Reader[namer.Binding] { return b.Reader }

// TestReloadWhileBindingsChange: a name joins and leaves the configuration while what it stands for changes.
func TestReloadWhileBindingsChange(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry(), "test")
	if err != nil {
		t.Fatal(err)
	}
	n := newNames(m, hclog.NewNullLogger())
	cell := watch.New(namer.Binding{Status: namer.OK}, nil)
	name := dtab.MustParsePath("/svc/redis")
	n.use(fixedBinder{cell}, []dtab.Path{name})
	defer n.close()

	done := make(chan struct{})
	var changing sync.WaitGroup
	defer changing.Wait()
	defer close(done)
	changing.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				cell.Set(namer.Binding{Status: namer.OK})
			}
		}
	})
	for i := range 300 {
		var fixed []dtab.Path
		if i%2 == 1 {
			fixed = []dtab.Path{name}
		}
		b := fixedBinder{cell}
		if i%3 == 0 {
			b = fixedBinder{watch.Reader[namer.Binding](watch.New(cell.Value(), nil))}
		}
		n.use(b, fixed)
		if got, want := n.wire, 1-len(fixed); got != want {
			t.Fatalf("%d names from outside, want %d", got, want)
		}
	}
}
