package client

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/namerd/store"
)

// A page that is not there, of whatever stands before the namerd, takes no table away. Namerd's own 404 has no body.
func TestNotFoundBySomethingElse(t *testing.T) {
	for body, gone := range map[string]bool{"<html>no such page</html>": false, "": true} {
		var turned atomic.Bool
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if turned.Load() {
				w.WriteHeader(http.StatusNotFound)
				w.Write([]byte(body))
				return
			}
			w.Header().Set("ETag", "AAE=")
			w.Write([]byte(`[{"prefix":"/a","dst":"/b"}]`))
		}))
		defer s.Close()
		c, err := New(s.URL, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var observing sync.WaitGroup
		said := make(chan store.Observation, 100)
		observing.Go(func() { c.Observe(ctx, "default", func(o store.Observation) { said <- o }) })
		var last store.Observation
		expect := func(what string, ok func() bool) {
			t.Helper()
			deadline := time.After(20 * time.Second)
			for !ok() {
				select {
				case last = <-said:
				case <-deadline:
					t.Fatalf("%s: there is %+v", what, last)
				}
			}
		}
		expect("first", func() bool { return last.Exists })
		turned.Store(true)
		expect("gone, or in trouble", func() bool { return last.Err != nil || !last.Exists })
		if gone == last.Exists || gone != (last.Err == nil) || last.Err != nil && !strings.Contains(last.Err.Error(), "no such page") {
			t.Errorf("404 with %q: %+v", body, last)
		}
		cancel()
		observing.Wait()
		c.Close()
	}
}
