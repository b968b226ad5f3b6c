package namerd_test

import (
	"fmt"
	"strings"
	"testing"

	"argosy/internal/door"
	"argosy/internal/settings"
	"argosy/namerd"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	const text = "Content-Type: application/dtab"
	s := fixture()
	open := []string{"/health", "/metrics"}
	entrance := door.New(settings.Door{Open: open, Tokens: []settings.DoorToken{
		{Name: "ci", Secret: settings.NewSecret("secret-of-ci"), Write: true},
		{Name: "board", Secret: settings.NewSecret("secret-of-board")},
	}}, nil, door.Options{Realm: "namerd"})
	address := serve(t, s, namerd.Options{Door: entrance})
	check := func(method, target, authorization string, want int) string {
		t.Helper()
		header := []string{text}
		if authorization != "" {
			header = append(header, "Authorization: "+authorization)
		}
		r, body := send(t, address, method, target, "/a=>/b", header...)
		if r.StatusCode != want {
			t.Errorf("%s %s with %q: %s %q, want %d", method, target, authorization, r.Status, body, want)
		}
		if (r.Header.Get("WWW-Authenticate") != "") != (want == 401) {
			t.Errorf("WWW-Authenticate: %q", r.Header["Www-Authenticate"])
		}
		return body
	}
	for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer secret-of-c", "Bearer secret-of-ci2", "Basic secret-of-ci", "secret-of-ci", "bearer SECRET-OF-CI"} {
		for _, target := range []string{"/api/1/dtabs", "/api/1/dtabs/yeezus", "/api/1/dtabs/yeezus?watch=true", "/api/1/history/yeezus", "/", "/api/1/bind/yeezus?path=/x"} {
			check("GET", target, wrong, 401)
		}
		for _, method := range []string{"PUT", "POST", "DELETE"} {
			check(method, "/api/1/dtabs/yeezus", wrong, 401)
		}
		check("POST", "/api/1/rollback/yeezus?version="+v1, wrong, 401)
		check("POST", "/health", wrong, 401)
		check("GET", "/health", wrong, 200)
		check("GET", "/metrics", wrong, 200)
	}
	const read, write = "Bearer secret-of-board", "bearer  secret-of-ci"
	check("GET", "/api/1/dtabs/yeezus", read, 200)
	check("GET", "/api/1/history/yeezus", read, 200)
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		if body := check(method, "/api/1/dtabs/yeezus", read, 403); body != `token "board" may only read` {
			t.Error(body)
		}
	}
	check("POST", "/api/1/rollback/yeezus?version="+v1, read, 403)
	if e, err := s.Get(t.Context(), "yeezus"); err != nil || e.Dtab.String() != "/yeezy=>/yeezus" {
		t.Fatal("changed without a token for it", e, err)
	}
	check("PUT", "/api/1/dtabs/yeezus", write, 204)
	check("GET", "/api/1/dtabs/yeezus", write, 200)
	if c := remembered(t, address, "?limit=1", "Authorization: "+read)[0]; c.By != "ci" || !c.Verified {
		t.Errorf("%+v", c)
	}
	entrance.Use(settings.Door{Open: open, Tokens: []settings.DoorToken{{Name: "ci", Secret: settings.NewSecret("next"), Write: true}}}, nil)
	check("GET", "/api/1/dtabs/yeezus", write, 401)
	check("PUT", "/api/1/dtabs/yeezus", "Bearer next", 204)
	_, metrics := send(t, address, "GET", "/metrics", "")
	if want := `route="refused"`; !strings.Contains(metrics, want) {
		t.Errorf("no %s in the metrics", want)
	}
}

// A page in a browser cannot write; what is no browser says nothing of where it comes from.
func TestWebPagesCannotWrite(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		header string
		status int
	}{
		{"Origin: http://evil.example", 403},
		{"Origin: null", 403},
		{"Sec-Fetch-Site: cross-site", 403},
		{"Sec-Fetch-Site: same-site", 403},
		{"User-Agent: curl", 204},
	} {
		for _, request := range []string{"PUT /api/1/dtabs/yeezus", "DELETE /api/1/dtabs/yeezus", "POST /api/1/dtabs/new", "POST /api/1/rollback/yeezus?version=" + v1} {
			s := fixture()
			method, target, _ := strings.Cut(request, " ")
			r, body := send(t, serve(t, s, namerd.Options{}), method, target, "/a=>/b", "Content-Type: text/plain", test.header)
			if r.StatusCode != test.status {
				t.Errorf("%s with %s: %s %q", request, test.header, r.Status, body)
			}
			if e, _ := s.Get(t.Context(), "yeezus"); test.status != 204 && e.Dtab.String() != "/yeezy=>/yeezus" {
				t.Errorf("%s with %s: changed", request, test.header)
			}
		}
	}
	if r, _ := send(t, serve(t, fixture(), namerd.Options{}), "GET", "/api/1/dtabs/yeezus", "", "Origin: http://evil.example"); r.StatusCode != 200 || fmt.Sprint(r.Header["Access-Control-Allow-Origin"]) != "[]" {
		t.Error(r.Status, r.Header)
	}
}
