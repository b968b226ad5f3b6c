package consul

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/namerd/store"
)

// What stands between us and Consul may say anything; a table that is known stays until Consul says that it is gone.
func TestObserveThroughGarbage(t *testing.T) {
	t.Parallel()
	const row = `[{"Key": "namerd/dtabs/default", "ModifyIndex": 7, "Value": "L2EgPT4gL2I7"}]` // /a => /b;
	for name, c := range map[string]struct {
		index, body string
		status      int
		gone        bool
	}{
		"not found, by something else": {status: 404, body: "<html>no such page</html>"},
		"an empty list":                {status: 200, body: "[]"},
		"an empty list with an index":  {status: 200, index: "9", body: "[]"},
		"null":                         {status: 200, body: "null"},
		"another key":                  {status: 200, index: "9", body: `[{"Key": "x", "ModifyIndex": 8, "Value": ""}]`},
		"no key at all":                {status: 200, index: "9", body: `[{}]`},
		"a page":                       {status: 200, index: "9", body: "<html>log in</html>"},
		"lost its data":                {status: 404, index: "3"},
		"no leader":                    {status: 404, index: "1"},
		"deleted":                      {status: 404, index: "8", gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var turned, asked atomic.Int64
			s := over(t, "", func(w http.ResponseWriter, r *http.Request) {
				index, body, status := "7", row, 200
				if turned.Load() > 0 {
					asked.Add(1)
					index, body, status = c.index, c.body, c.status
				}
				if index != "" {
					w.Header().Set("X-Consul-Index", index)
				}
				w.WriteHeader(status)
				w.Write([]byte(body))
			})
			var mu sync.Mutex
			var last store.Observation
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				s.Observe(ctx, "default", func(o store.Observation) {
					mu.Lock()
					defer mu.Unlock()
					last = o
				})
			})
			shown := func() string {
				mu.Lock()
				defer mu.Unlock()
				if !last.Exists {
					return fmt.Sprint("nothing, error: ", last.Err != nil)
				}
				return fmt.Sprint(last.Entry.Dtab, ", error: ", last.Err != nil)
			}
			until(t, func() bool { return shown() == "/a=>/b, error: false" }, shown)
			turned.Store(1)
			until(t, func() bool { return asked.Load() > 2 }, shown)
			want := "/a=>/b, error: true"
			if c.gone {
				want = "nothing, error: false"
			}
			until(t, func() bool { return shown() == want }, shown)
			turned.Store(0)
			until(t, func() bool { return shown() == "/a=>/b, error: false" }, shown)
			cancel()
			wg.Wait()
		})
	}
}

func until(t *testing.T, ok func() bool, shown func() string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there is %s", shown())
		}
	}
}
