package consulclient

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/settings"
)

// replace puts a file in the place of another, as those do who write tokens.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A request that waits at Consul with a token that is replaced goes on with the new one, and asks what that may see.
func TestWaitingRequestsMoveToTheNewToken(t *testing.T) {
	clearEnv(t)
	var waiting, left atomic.Int64
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Has("index") || q.Has("hash") {
			waiting.Add(1)
			<-r.Context().Done()
			left.Add(1)
			return
		}
		w.Header().Set("X-Consul-Index", "7")
		w.Write([]byte(`[{"Key":"x","Value":""}]`))
		if got := r.Header.Get("X-Consul-Token"); got != "second" || r.URL.Query().Has("wait") {
			t.Errorf("asked again with the token %q: %s", got, r.URL)
		}
	})
	path := filepath.Join(t.TempDir(), "token")
	replace(t, path, "first")
	c, link, err := NewLinked(settings.Consul{Address: s.URL, TokenFile: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	type answer struct {
		pair *api.KVPair
		meta *api.QueryMeta
		err  error
	}
	answers := make(chan answer)
	go func() {
		pair, meta, err := c.KV().Get("x", (&api.QueryOptions{WaitIndex: 5, WaitTime: time.Minute}).WithContext(ctx))
		answers <- answer{pair, meta, err}
	}()
	for ; waiting.Load() == 0; time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("the request did not come")
		}
	}
	replace(t, path, "first\n") // the same one
	select {
	case a := <-answers:
		t.Fatalf("ended for the same token: %+v", a)
	case <-time.After(3 * tokenLook):
	}
	if link.Tokens() != 0 {
		t.Error("the same token counts as another one")
	}
	replace(t, path, "second")
	if a := <-answers; a.err != nil || a.pair == nil || a.meta.LastIndex != 7 {
		t.Errorf("got %+v", a)
	}
	if link.Tokens() != 1 {
		t.Errorf("%d changes of the token", link.Tokens())
	}
	for ; left.Load() == 0; time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("the first request still waits")
		}
	}
}

// Nothing looks at the file while nothing waits.
func TestTokenFileRestsWithoutRequests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	replace(t, path, "first")
	f := &tokenFile{path: path}
	if _, err := f.read(); err != nil {
		t.Fatal(err)
	}
	token, done := f.wait(func(error) { t.Error("cancelled") })
	if token != "first" || f.timer == nil {
		t.Errorf("token %q, timer %v", token, f.timer)
	}
	done()
	if f.timer != nil || len(f.waiting) != 0 {
		t.Error("it still looks")
	}
	f.look() // one that was under way
	if f.timer != nil {
		t.Error("it looks again")
	}
}
