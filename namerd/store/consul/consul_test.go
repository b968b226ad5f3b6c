package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
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

// The table's own keys are read and written as by Namerd, and the history goes with them.
func TestRequestsAreNamerds(t *testing.T) {
	var got []string
	s := over(t, "/mesh/dtabs/", func(w http.ResponseWriter, r *http.Request) {
		request := r.Method + " " + r.URL.RequestURI()
		switch {
		case r.URL.Path == "/v1/txn":
			var ops []struct{ KV api.KVTxnOp }
			if err := json.NewDecoder(r.Body).Decode(&ops); err != nil {
				t.Error(err)
			}
			for _, op := range ops {
				name, _, _ := strings.Cut(op.KV.Key, "Z-")
				name = regexp.MustCompile(`\d{8}T\d{6}\.\d{9}$`).ReplaceAllString(name, "TIME")
				request += fmt.Sprintf("; %s %s %d", op.KV.Verb, name, op.KV.Index)
			}
			w.Write([]byte(`{"Results": []}`))
		case r.URL.Query().Has("keys") && strings.Contains(r.URL.Path, ".history/a/"):
			w.Write([]byte(`["mesh/dtabs/.history/a/20260102T030405.000000006Z-10", "mesh/dtabs/.history/a/strange"]`))
		case r.URL.Query().Has("keys") && strings.Contains(r.URL.Path, ".history"):
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Query().Has("keys"):
			w.Write([]byte(`["mesh/dtabs/", "mesh/dtabs/.history/", "mesh/dtabs/b", "mesh/dtabs/a", "mesh/dtabs/folder/", "mesh/dtabs/not.one"]`))
		case strings.HasSuffix(r.URL.Path, "/a"):
			w.Header().Set("X-Consul-Index", "99")
			w.Write([]byte(`[{"Key": "mesh/dtabs/a", "ModifyIndex": 7, "Value": "L2EgPT4gL2I7"}]`)) // /a => /b;
		case strings.HasSuffix(r.URL.Path, "Z-10"):
			w.Write([]byte(`[{"Key": "x", "ModifyIndex": 7, "Value": "eyJleGlzdHMiOnRydWV9"}]`)) // {"exists":true}
		default:
			w.Header().Set("X-Consul-Index", "99")
			w.WriteHeader(http.StatusNotFound)
		}
		got = append(got, request)
	})
	names, err := s.List(t.Context())
	if err != nil || strings.Join(names, " ") != "a b" {
		t.Errorf("list: %v %v", names, err)
	}
	e, err := s.Get(t.Context(), "a")
	if err != nil || e.Version != "7" || e.Dtab.String() != "/a=>/b" {
		t.Errorf("get: %+v %v", e, err)
	}
	d, err := dtab.Parse("/a => /c")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.Create(t.Context(), "n", d), s.Update(t.Context(), "a", d, "7"), s.Put(t.Context(), "n", d), s.Delete(t.Context(), "a")} {
		if err != nil {
			t.Error(err)
		}
	}
	const none = `GET /v1/kv/mesh/dtabs/n
GET /v1/kv/mesh/dtabs/.history/n/?consistent=&keys=
PUT /v1/txn; cas mesh/dtabs/n 0; set mesh/dtabs/.history/n/TIME 0`
	const some = `GET /v1/kv/mesh/dtabs/a
GET /v1/kv/mesh/dtabs/.history/a/?consistent=&keys=
GET /v1/kv/mesh/dtabs/.history/a/20260102T030405.000000006Z-10?consistent=`
	want := strings.Join([]string{
		"GET /v1/kv/mesh/dtabs/?keys=&separator=%2F", "GET /v1/kv/mesh/dtabs/a", none,
		some, "PUT /v1/txn; cas mesh/dtabs/a 7; set mesh/dtabs/.history/a/TIME 0", none,
		some, "PUT /v1/txn; check-index mesh/dtabs/a 7; delete-cas mesh/dtabs/a 7; set mesh/dtabs/.history/a/TIME 0",
		"GET /v1/kv/mesh/dtabs/.history/?keys=&separator=%2F",
	}, "\n")
	if strings.Join(got, "\n") != want {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// Clocks differ: the order of the names is that of the changes all the same.
func TestRecordNamesOnlyGrow(t *testing.T) {
	p := &past{}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for i, now := range []time.Time{at, at.Add(-time.Hour), at, at.Add(time.Nanosecond), at.Add(time.Hour)} {
		name := p.recordName("x/", now, 1000-i)
		if n := len(p.keys); n > 0 && name <= p.keys[n-1] {
			t.Errorf("%s after %s", name, p.keys[n-1])
		}
		if recordSize(name) != 1000-i {
			t.Errorf("size of %s is %d", name, recordSize(name))
		}
		p.keys = append(p.keys, name)
	}
}

// Consul in trouble: nothing is said to be done that is not.
func TestConsulAnswersGarbage(t *testing.T) {
	for _, answer := range []string{"", "{", "null", "[]", `{"Results": [], "Errors": [{"OpIndex": 7, "What": "what?"}]}`, strings.Repeat("x", 1<<20)} {
		for _, status := range []int{200, 409, 500, 503} {
			s := over(t, "", func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "GET" && r.URL.Path != "/v1/txn" {
					w.Header().Set("X-Consul-Index", "9")
					w.WriteHeader(http.StatusNotFound)
					return
				}
				w.WriteHeader(status)
				w.Write([]byte(answer))
			})
			err := s.Create(t.Context(), "default", nil)
			if ok := status == 200 && strings.HasPrefix(answer, "{\"") || status == 200 && answer == "null"; (err == nil) != ok {
				t.Errorf("%d %.20q: %v", status, answer, err)
			}
			if err != nil && len(err.Error()) > 2<<20 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
	}
}
