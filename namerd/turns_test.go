package namerd

import (
	"context"
	"io"
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

// Large bodies that are on their way take a place each, so that many do not fill the memory: another one waits, and small
// ones do not.
func TestLargeBodiesTakePlaces(t *testing.T) {
	s := NewServer(store.NewMemory(nil), Options{})
	t.Cleanup(s.Close)
	put := func(ctx context.Context, body io.Reader) int {
		r := httptest.NewRequestWithContext(ctx, "PUT", "/api/1/dtabs/default", body)
		r.Header.Set("Content-Type", "text/plain")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code
	}
	large := "#" + strings.Repeat(" ", largeBody)
	var halves []*io.PipeWriter
	codes := make(chan int)
	for range largePlaces {
		r, w := io.Pipe()
		halves = append(halves, w)
		go func() { codes <- put(t.Context(), r) }()
		_, _ = io.WriteString(w, large) // returns when it has been read
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if code := put(ctx, strings.NewReader(large)); code != 503 {
		t.Errorf("a large one beside %d others: %d", largePlaces, code)
	}
	if code := put(t.Context(), strings.NewReader("/a=>/b")); code != 204 {
		t.Errorf("a small one: %d", code)
	}
	halves[0].CloseWithError(io.ErrUnexpectedEOF)
	if code := <-codes; code != 400 {
		t.Errorf("half of a large one: %d", code)
	}
	if code := put(t.Context(), strings.NewReader(large)); code != 204 {
		t.Errorf("a large one when there is a place: %d", code)
	}
	for _, w := range halves[1:] {
		w.Close()
		if code := <-codes; code != 204 {
			t.Errorf("a large one that has taken its time: %d", code)
		}
	}
	if len(s.places)+len(s.turns) != 0 {
		t.Errorf("%d places and %d turns are not given back", len(s.places), len(s.turns))
	}
}
