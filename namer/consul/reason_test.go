package consul

import (
	"context"
	"strings"
	"sync"
	"testing"

	"argosy/dtab"
	"argosy/namer"
)

// What is nothing because Consul is in trouble says why, until Consul answers.
func TestReason(t *testing.T) {
	t.Parallel()
	s := script(t, Options{}, says(500, "No path to datacenter"))
	var mu sync.Mutex
	var last namer.Answer
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		s.client.Watch(ctx, dtab.Path{"#", "c"}, dtab.Path{"dc9", "web"}, func(a namer.Answer) {
			mu.Lock()
			defer mu.Unlock()
			last = a
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	is := func(ok func(namer.Answer) bool) bool {
		return waitFor(func() bool {
			mu.Lock()
			defer mu.Unlock()
			return ok(last)
		})
	}
	if !is(func(a namer.Answer) bool {
		return show(a) == "~" && a.Err != nil && strings.Contains(a.Err.Error(), "No path to datacenter")
	}) {
		t.Errorf("in trouble: %+v", last)
	}
	s.change(answers("[]", 12))
	if !is(func(a namer.Answer) bool { return show(a) == "~" && a.Err == nil }) {
		t.Errorf("afterwards: %+v", last)
	}
}
