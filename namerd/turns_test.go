package namerd

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"argosy/namerd/store"
)

// While large bodies are being worked on, another one waits, and small ones do not.
func TestLargeBodiesTakeTurns(t *testing.T) {
	s := NewServer(store.NewMemory(nil), Options{})
	t.Cleanup(s.Close)
	for range largeTurns {
		s.turns <- struct{}{}
	}
	put := func(body string) int {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, "PUT", "/api/1/dtabs/default", strings.NewReader(body))
		r.Header.Set("Content-Type", "text/plain")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code
	}
	large := "#" + strings.Repeat(" ", largeBody)
	if code := put(large); code != 503 {
		t.Errorf("a large one beside %d others: %d", largeTurns, code)
	}
	if code := put("/a=>/b"); code != 204 {
		t.Errorf("a small one: %d", code)
	}
	<-s.turns
	for range 3 {
		if code := put(large); code != 204 {
			t.Errorf("a large one when it is its turn: %d", code)
		}
	}
}
