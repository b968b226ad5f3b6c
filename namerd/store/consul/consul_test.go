package consul

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consulclient"
	"argosy/internal/settings"
	"argosy/namerd/store"
)

func over(t *testing.T, prefix string, h http.HandlerFunc) *Store {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	client, err := consulclient.New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return New(client, prefix, hclog.NewNullLogger())
}

func TestInvalidNamesNeverReachConsul(t *testing.T) {
	var asked atomic.Int64
	s := over(t, "", func(w http.ResponseWriter, r *http.Request) { asked.Add(1) })
	for _, ns := range []string{"", "a/b", "..", "a b", "ü", "a?recurse", "a%2fb", "a.b"} {
		_, getErr := s.Get(t.Context(), ns)
		for what, err := range map[string]error{
			"get": getErr, "create": s.Create(t.Context(), ns, nil), "put": s.Put(t.Context(), ns, nil),
			"update": s.Update(t.Context(), ns, nil, "1"), "update 0": s.Update(t.Context(), ns, nil, "0"), "delete": s.Delete(t.Context(), ns),
		} {
			if !errors.Is(err, store.ErrName) {
				t.Errorf("%s %q: %v", what, ns, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		s.Observe(ctx, ns, func(o store.Observation) {
			if o.Known || !errors.Is(o.Err, store.ErrName) {
				t.Errorf("observe %q: %+v", ns, o)
			}
			cancel()
		})
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestVersionsThatCannotBeAreAMismatch(t *testing.T) {
	s := over(t, "", func(w http.ResponseWriter, r *http.Request) { t.Errorf("asked %s", r.URL) })
	for _, v := range []store.Version{"", "0", "00", "x", "-1", "1.5", "99999999999999999999999"} {
		if err := s.Update(t.Context(), "default", nil, v); !errors.Is(err, store.ErrVersion) {
			t.Errorf("%q: %v", v, err)
		}
	}
}

func TestRequestsAreNamerds(t *testing.T) {
	var got []string
	s := over(t, "/mesh/dtabs/", func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.RequestURI())
		switch {
		case r.URL.Query().Has("keys"):
			w.Write([]byte(`["mesh/dtabs/", "mesh/dtabs/b", "mesh/dtabs/a", "mesh/dtabs/folder/", "mesh/dtabs/not.one"]`))
		case r.Method == "GET":
			w.Header().Set("X-Consul-Index", "99")
			w.Write([]byte(`[{"Key": "mesh/dtabs/a", "ModifyIndex": 7, "Value": "L2EgPT4gL2I7"}]`)) // /a => /b;
		default:
			w.Write([]byte("true"))
		}
	})
	names, err := s.List(t.Context())
	if err != nil || strings.Join(names, " ") != "a b" {
		t.Errorf("list: %v %v", names, err)
	}
	e, err := s.Get(t.Context(), "a")
	if err != nil || e.Version != "7" || e.Dtab.String() != "/a=>/b" {
		t.Errorf("get: %+v %v", e, err)
	}
	d, err := dtab.Parse("/a => /b")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.Create(t.Context(), "n", d), s.Update(t.Context(), "n", d, "7"), s.Put(t.Context(), "n", d), s.Delete(t.Context(), "a")} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"GET /v1/kv/mesh/dtabs/?keys=&separator=%2F", "GET /v1/kv/mesh/dtabs/a", "PUT /v1/kv/mesh/dtabs/n?cas=0",
		"PUT /v1/kv/mesh/dtabs/n?cas=7", "PUT /v1/kv/mesh/dtabs/n", "GET /v1/kv/mesh/dtabs/a", "DELETE /v1/kv/mesh/dtabs/a?cas=7",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked\n%s", strings.Join(got, "\n"))
	}
}
