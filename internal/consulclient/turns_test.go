package consulclient

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/settings"
)

// While large answers are being read, another one waits, and small ones do not: a Consul that answers every request with
// a body without end must not fill the memory.
func TestLargeAnswersTakeTurns(t *testing.T) {
	clearEnv(t)
	release := make(chan struct{})
	released := sync.OnceFunc(func() { close(release) })
	t.Cleanup(released)
	var reading sync.WaitGroup
	reading.Add(largeTurns)
	large := append(bytes.Repeat([]byte(" "), 3*smallAnswer), `"x"`...)
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/small"):
			w.Write([]byte(`"x"`))
		case strings.HasSuffix(r.URL.Path, "/held"):
			w.Write(large[:smallAnswer+1000])
			w.(http.Flusher).Flush()
			reading.Done()
			<-release
			w.Write(large)
		default:
			w.Write(large)
		}
	})
	c, err := New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string, limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		var text string
		_, err := c.Raw().Query("/v1/"+path, &text, (&api.QueryOptions{}).WithContext(ctx))
		return err
	}
	var held sync.WaitGroup
	for range largeTurns {
		held.Go(func() {
			if err := ask("held", 20*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	reading.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for taken := false; !taken; { // until they have begun with what is beyond the small size
		err := ask("large", 300*time.Millisecond)
		taken = err != nil && strings.Contains(err.Error(), "beside others")
		if time.Now().After(deadline) {
			t.Fatalf("a large one beside others: %v", err)
		}
	}
	if err := ask("small", 5*time.Second); err != nil {
		t.Errorf("a small one: %v", err)
	}
	released()
	held.Wait()
	for range 2 * largeTurns {
		if err := ask("large", 5*time.Second); err != nil {
			t.Errorf("a large one when it is its turn: %v", err)
		}
	}
}
