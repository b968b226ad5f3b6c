package consulclient

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"argosy/internal/settings"
)

// What answers in Consul's place must not have the token sent to others. Consul's API redirects nobody.
func TestTokenIsNotSentElsewhere(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		t.Errorf("asked with the token %q", r.Header.Get("X-Consul-Token"))
	}))
	defer elsewhere.Close()
	here := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer here.Close()
	client, err := New(settings.Consul{Address: here.URL, Token: settings.NewSecret("secret")})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.KV().Get("key", nil); err == nil || asked.Load() > 0 {
		t.Errorf("a redirect: %v, asked elsewhere %d times", err, asked.Load())
	}
}
