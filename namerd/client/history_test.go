package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"argosy/internal/devca"
	"argosy/internal/door"
	"argosy/internal/settings"
	"argosy/namerd"
	"argosy/namerd/client"
	"argosy/namerd/store"
)

func TestRollback(t *testing.T) {
	t.Parallel()
	memory := store.NewMemory(nil)
	c := dial(t, serve(t, memory), client.Options{From: "ann", Message: "because"})
	versions := []store.Version{}
	for _, text := range []string{"/a=>/1", "/a=>/2", "/a=>/3"} {
		if err := c.Put(t.Context(), "default", table(t, text)); err != nil {
			t.Fatal(err)
		}
		e, err := c.Get(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, e.Version)
	}
	if err := c.Rollback(t.Context(), "default", versions[0], versions[1]); !errors.Is(err, store.ErrVersion) {
		t.Error(err)
	}
	if err := c.Rollback(t.Context(), "default", versions[0], versions[2]); err != nil {
		t.Error(err)
	}
	if err := c.Rollback(store.WithAuthor(t.Context(), store.Author{Name: "bob"}), "default", versions[1], ""); err != nil {
		t.Error(err)
	}
	for want, err := range map[error]error{
		store.ErrForgotten: c.Rollback(t.Context(), "default", "\x00", ""),
		store.ErrMissing:   c.Rollback(t.Context(), "nobody", versions[1], ""),
		store.ErrName:      c.Rollback(t.Context(), "a/b", versions[1], ""),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	changes, err := c.History(t.Context(), "default", 2)
	if err != nil || len(changes) != 2 {
		t.Fatal(changes, err)
	}
	if n := changes[0]; n.Action != "rollback" || n.Author.Name != "bob" || n.Author.Message != "because" || n.Dtab.String() != "/a=>/2" {
		t.Errorf("%+v", n)
	}
	if n := changes[1]; n.Author.Name != "ann" || n.Dtab.String() != "/a=>/1" {
		t.Errorf("%+v", n)
	}
}

// A reason never keeps a change from being made, whatever it is: a shift that goes back quotes its query.
func TestMessages(t *testing.T) {
	t.Parallel()
	c := dial(t, serve(t, store.NewMemory(nil)), client.Options{From: strings.Repeat("ü", 150)})
	for text, want := range map[string]string{
		"sum(\n\trate(x[1m])\n) > 5":    "sum( rate(x[1m]) ) > 5",
		"\x00\x1b[31mred\xff\u0085\r\n": "[31mred?",
		strings.Repeat("é", 600):        strings.Repeat("é", 498) + "...",
		" \n":                           "",
	} {
		if err := c.Put(store.WithAuthor(t.Context(), store.Author{Message: text}), "default", nil); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		changes, err := c.History(t.Context(), "default", 1)
		if err != nil || changes[0].Author.Message != want || changes[0].Author.Name != strings.Repeat("ü", 98)+"..." {
			t.Errorf("%q: %+v %v, want %q", text, changes, err, want)
		}
	}
}

// What has no history says so, whatever it answers.
func TestNoHistory(t *testing.T) {
	t.Parallel()
	for _, handler := range []http.Handler{
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }), // Namerd 1.x
		http.NotFoundHandler(),
	} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		c := dial(t, server.URL, client.Options{})
		_, err := c.History(t.Context(), "default", 0)
		if !errors.Is(err, store.ErrNoHistory) || err.Error() != "history of default: this namerd keeps no history" {
			t.Error(err)
		}
		if err := c.Rollback(t.Context(), "default", "x", ""); !errors.Is(err, store.ErrNoHistory) {
			t.Error(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"x":1}`)) }))
	t.Cleanup(server.Close)
	if _, err := dial(t, server.URL, client.Options{}).History(t.Context(), "default", 0); err == nil || !strings.Contains(err.Error(), "is no history") {
		t.Error(err)
	}
}

// A namerd with TLS and client certificates, and tokens.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string) devca.Files {
		t.Helper()
		files, err := ca.Write(t.TempDir(), name, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	s, mine := write("namerd"), write("ann")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(tokens []settings.DoorToken, required bool) string {
		cfg := settings.Door{Tokens: tokens, TLS: &settings.DoorTLS{CertFile: s.Cert, KeyFile: s.Key, ClientCAFile: s.CA, Required: required}}
		peers, err := door.FilePeers(cfg.TLS, nil)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			ended <- namerd.NewServer(store.NewMemory(nil), namerd.Options{Door: door.New(cfg, peers, door.Options{})}).Run(ctx, l)
		}()
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return "https://" + l.Addr().String()
	}
	tokens := []settings.DoorToken{{Name: "ci", Secret: settings.NewSecret("secret"), Write: true}}
	required, both := start(nil, true), start(tokens, true)
	either, certified := start(tokens, false), start(nil, false)
	bare := client.Options{CAFile: s.CA}
	cert := client.Options{CAFile: s.CA, CertFile: mine.Cert, KeyFile: mine.Key}
	held := client.Options{CAFile: s.CA, TokenFile: token}
	all := cert
	all.TokenFile = token
	for _, test := range []struct {
		name    string
		url     string
		options client.Options
		by      string // empty: refused
	}{
		{"required, none", required, bare, ""}, {"required, shown", required, cert, "ann"}, {"required, a token", required, held, ""},
		{"both, none", both, bare, ""}, {"both, certificate", both, cert, ""}, {"both, both", both, all, "ci"},
		{"either, none", either, bare, ""}, {"either, certificate", either, cert, "ann"}, {"either, token", either, held, "ci"},
		{"certified, none", certified, bare, ""}, {"certified, certificate", certified, cert, "ann"},
		{"authority unknown", required, client.Options{CertFile: mine.Cert, KeyFile: mine.Key}, ""},
	} {
		c := dial(t, test.url, test.options)
		err := c.Put(t.Context(), "default", nil)
		if (err == nil) != (test.by != "") {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.by == "" {
			continue
		}
		changes, err := c.History(t.Context(), "default", 1)
		if err != nil || changes[0].Author.Name != test.by || !changes[0].Author.Verified {
			t.Errorf("%s: %+v %v", test.name, changes, err)
		}
	}
	r, err := http.Get(strings.Replace(either, "https", "http", 1) + "/health")
	if err == nil && r.StatusCode == 200 {
		t.Error("served without TLS")
	}
}
