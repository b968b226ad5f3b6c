package namerd_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"argosy/namerd"
	"argosy/namerd/store"
)

type shown struct {
	Version, Time, Action, By, Address, Message string
	Verified, Exists                            bool
	Dtab                                        []struct{ Prefix, Dst string }
}

// remembered asks for the history of yeezus.
func remembered(t *testing.T, address, query string, header ...string) []shown {
	t.Helper()
	r, body := send(t, address, "GET", "/api/1/history/yeezus"+query, "", header...)
	var changes []shown
	if err := json.Unmarshal([]byte(body), &changes); err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s %q %v", r.Status, body, err)
	}
	return changes
}

func TestHistory(t *testing.T) {
	t.Parallel()
	address := serve(t, fixture(), namerd.Options{})
	const text = "Content-Type: application/dtab"
	for _, step := range []struct {
		method, body string
		header       []string
	}{
		{"PUT", "/yeezy=>/kanye", []string{text, "From: ann@example.com", "X-Argosy-Message: for the tour – 2"}},
		{"DELETE", "", nil},
		{"POST", "/yeezy=>/late", []string{text, "From: " + strings.Repeat("x", 300)}}, // who claims too much is nobody
	} {
		if r, body := send(t, address, step.method, "/api/1/dtabs/yeezus", step.body, step.header...); r.StatusCode != 204 {
			t.Fatal(step, r.Status, body)
		}
	}
	changes := remembered(t, address, "")
	var lines []string
	for _, c := range changes {
		if at, err := time.Parse(time.RFC3339, c.Time); err != nil || time.Since(at) > time.Hour {
			t.Errorf("time %q", c.Time)
		}
		if c.Action != "initial" && !strings.HasPrefix(c.Address, "127.0.0.1:") || c.Verified || c.Dtab == nil {
			t.Errorf("%+v", c)
		}
		lines = append(lines, fmt.Sprintf("%s %s %v %s %s %v", c.Version, c.Action, c.Exists, c.By, c.Message, c.Dtab))
	}
	want := []string{
		"AAAAAAAAAAQ= create true   [{/yeezy /late}]",
		"AAAAAAAAAAM= delete false   []",
		"AAAAAAAAAAI= put true ann@example.com for the tour – 2 [{/yeezy /kanye}]",
		"AAAAAAAAAAE= initial true   [{/yeezy /yeezus}]",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if two := remembered(t, address, "?limit=2"); len(two) != 2 || two[0].Version != changes[0].Version {
		t.Errorf("%+v", two)
	}
	for target, status := range map[string]int{
		"/api/1/history/nobody": 404, "/api/1/history/a.b": 400, "/api/1/history/": 400, "/api/1/history/yeezus?limit=0": 400,
		"/api/1/history/yeezus?limit=x": 400, "/api/1/history": 404, "/api/1/historyyeezus": 404,
	} {
		if r, body := send(t, address, "GET", target, ""); r.StatusCode != status {
			t.Errorf("%s: %s %q", target, r.Status, body)
		}
	}
	if r, _ := send(t, address, "PUT", "/api/1/history/yeezus", ""); r.StatusCode != 404 {
		t.Error(r.Status)
	}
	if r, body := send(t, address, "PUT", "/api/1/dtabs/yeezus", "", text, "X-Argosy-Message: "+strings.Repeat("x", 1001)); r.StatusCode != 400 || !strings.Contains(body, "1000 bytes") {
		t.Error(r.Status, body)
	}
}

func TestRollback(t *testing.T) {
	t.Parallel()
	const v2, v3, v4 = "AAAAAAAAAAI=", "AAAAAAAAAAM=", "AAAAAAAAAAQ="
	for _, test := range []struct {
		target string
		header []string
		status int
		body   string
		stored string
	}{
		{"?version=" + url.QueryEscape(v1), nil, 204, "", "/yeezy=>/yeezus"},
		{"?version=" + v1, nil, 204, "", "/yeezy=>/yeezus"}, // = may stand in a query
		{"?version=" + v2, []string{"If-Match: " + v4}, 204, "", "/yeezy=>/2"},
		{"?version=" + v2, []string{"If-Match: " + v1}, 412, "", "/yeezy=>/4"},
		{"?version=" + v2, []string{"If-Match: x"}, 412, "", "/yeezy=>/4"},
		{"?version=" + v3, nil, 404, "no table of that version is remembered", "/yeezy=>/4"}, // it was a deletion
		{"?version=AAAAAAAAAAk=", nil, 404, "no table of that version is remembered", "/yeezy=>/4"},
		{"?version=yolo!", nil, 400, `version "yolo!" is no version: take one from the history, where they are base64`, "/yeezy=>/4"},
		{"", nil, 400, `version "" is no version: take one from the history, where they are base64`, "/yeezy=>/4"},
	} {
		s := fixture()
		address := serve(t, s, namerd.Options{})
		for _, err := range []error{s.Put(t.Context(), "yeezus", parse("/yeezy=>/2")), s.Delete(t.Context(), "yeezus"), s.Create(t.Context(), "yeezus", parse("/yeezy=>/4"))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		r, body := send(t, address, "POST", "/api/1/rollback/yeezus"+test.target, "", append(test.header, "From: ann")...)
		e, err := s.Get(t.Context(), "yeezus")
		if r.StatusCode != test.status || body != test.body || e.Dtab.String() != test.stored {
			t.Errorf("%s %q: %s %q, stored %s (%v)", test.target, test.header, r.Status, body, e.Dtab, err)
		}
		if c := remembered(t, address, "?limit=1")[0]; test.status == 204 && (c.Action != "rollback" || c.By != "ann" || !strings.HasPrefix(c.Message, "to version AAAAAAAAAA")) {
			t.Errorf("%+v", c)
		}
	}
	// What is deleted comes back.
	s := fixture()
	address := serve(t, s, namerd.Options{})
	send(t, address, "DELETE", "/api/1/dtabs/yeezus", "")
	if r, body := send(t, address, "POST", "/api/1/rollback/yeezus?version="+v1, ""); r.StatusCode != 204 {
		t.Error(r.Status, body)
	}
	if e, err := s.Get(t.Context(), "yeezus"); err != nil || e.Dtab.String() != "/yeezy=>/yeezus" {
		t.Error(e, err)
	}
	for target, want := range map[string]string{
		"GET /api/1/rollback/yeezus?version=" + v1:  "404 ",
		"POST /api/1/rollback/nobody?version=" + v1: "404 no such namespace",
		"POST /api/1/rollback/a.b?version=" + v1:    `400 invalid namespace name: only letters, digits, '-' and '_' are allowed: "a.b"`,
	} {
		method, target, _ := strings.Cut(target, " ")
		if r, body := send(t, address, method, target, ""); fmt.Sprint(r.StatusCode, " ", body) != want {
			t.Errorf("%s %s: %s %q", method, target, r.Status, body)
		}
	}
	address = serve(t, fixture(), namerd.Options{ReadOnly: true})
	if r, _ := send(t, address, "POST", "/api/1/rollback/yeezus?version="+v1, ""); r.StatusCode != 403 {
		t.Error(r.Status)
	}
}

// plain is a store that does not remember.
type plain struct{ store.Store }

func TestNoHistory(t *testing.T) {
	t.Parallel()
	address := serve(t, plain{fixture()}, namerd.Options{})
	for _, request := range []string{"GET /api/1/history/yeezus", "POST /api/1/rollback/yeezus?version=" + v1} {
		method, target, _ := strings.Cut(request, " ")
		if r, body := send(t, address, method, target, ""); r.StatusCode != 501 || body != "this namerd keeps no history" {
			t.Error(r.Status, body)
		}
	}
}
