package namerd_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/namerd"
	"argosy/namerd/store"
	"argosy/namerd/store/files"
)

// stores are those that need no server.
func stores(t *testing.T) map[string]store.Store {
	t.Helper()
	f, err := files.Open(t.TempDir(), files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return map[string]store.Store{"memory": store.NewMemory(nil), "files": f}
}

// endless is a body that nobody has to keep in memory.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range n {
		p[i] = "/a=>/b;"[(e.left-i)%7]
	}
	e.left -= n
	return n, nil
}

// 50 MB are refused at once where their length is known, and after what a dtab may have where it is not.
func TestBodiesThatAreFarTooLarge(t *testing.T) { // not beside others, which allocate as well
	const size = 50 << 20
	s := fixture()
	address := serve(t, s, namerd.Options{})
	for _, method := range []string{"PUT", "POST"} {
		for _, contentType := range []string{"application/dtab", "application/json", "text/plain", ""} {
			for _, length := range []int64{size, -1} {
				r, err := http.NewRequest(method, "http://"+address+"/api/1/dtabs/yeezus", &endless{size})
				if err != nil {
					t.Fatal(err)
				}
				r.ContentLength = length
				r.Header.Set("Content-Type", contentType)
				before := heap()
				a, err := http.DefaultClient.Do(r)
				if err != nil { // the server has hung up on what it does not want to read
					continue
				}
				a.Body.Close()
				if a.StatusCode != http.StatusRequestEntityTooLarge {
					t.Errorf("%s %q of length %d: %s", method, contentType, length, a.Status)
				}
				if grown := heap() - before; grown > 40<<20 {
					t.Errorf("%s %q of length %d: %d MB allocated", method, contentType, length, grown>>20)
				}
			}
		}
	}
	if e, _ := s.Get(t.Context(), "yeezus"); e.Dtab.String() != "/yeezy=>/yeezus" {
		t.Error("changed")
	}
}

// heap is how much has been allocated so far, by all of the tests that run.
func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// As many entries as a body can have are taken; what is malformed in a long body is found; none of it takes long.
func TestVeryManyEntries(t *testing.T) {
	t.Parallel()
	const n = 500_000
	text, json := strings.Repeat("/a=>/b;", n), "["+strings.Repeat(`{"prefix":"/","dst":"/"},`, n/3)+`{"prefix":"/","dst":"/"}]`
	for _, test := range []struct {
		name, contentType, body string
		status, entries         int
	}{
		{"text", "application/dtab", text, 204, n},
		{"JSON", "application/json", json, 204, n/3 + 1},
		{"a million", "application/dtab", strings.Repeat("/a=>/b;", 1_000_000), 413, 1},
		{"wrong at the end", "application/dtab", text + "/a=", 400, 1},
		{"JSON wrong at the end", "application/json", json[:len(json)-1], 400, 1},
		{"only parentheses", "application/dtab", "/a=>" + strings.Repeat("(", 5_000_000), 400, 1},
		{"only brackets", "application/json", strings.Repeat("[", 5_000_000), 400, 1},
		{"alternatives", "application/dtab", "/a=>/b" + strings.Repeat("|/b", 1_000_000), 204, 1},
		{"one long path", "application/dtab", "/a=>" + strings.Repeat("/b", 2_000_000), 204, 1},
	} {
		s := fixture()
		address := serve(t, s, namerd.Options{})
		began := time.Now()
		r, err := http.NewRequest("PUT", "http://"+address+"/api/1/dtabs/yeezus", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", test.contentType)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			if test.status != 413 {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		body, _ := io.ReadAll(a.Body)
		a.Body.Close()
		e, _ := s.Get(t.Context(), "yeezus")
		if a.StatusCode != test.status || len(e.Dtab) != test.entries {
			t.Errorf("%s: %s, %d entries", test.name, a.Status, len(e.Dtab))
		}
		if len(body) > 100_000 {
			t.Errorf("%s: an answer of %d bytes", test.name, len(body))
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("%s took %v", test.name, took)
		}
	}
}

// Whatever byte is in a name, there is an answer, and only letters, digits, - and _ make a namespace.
func TestNamesWithEveryByte(t *testing.T) {
	t.Parallel()
	for what, s := range stores(t) {
		address := serve(t, s, namerd.Options{})
		var made []string
		for b := range 256 {
			for _, name := range []string{string([]byte{'n', byte(b)}), fmt.Sprintf("n%%%02x", b)} {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				fmt.Fprintf(conn, "POST /api/1/dtabs/%s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\n/a=>/b", name)
				r, err := http.ReadResponse(bufio.NewReader(conn), nil)
				conn.Close()
				if err != nil {
					t.Errorf("%q: %v", name, err)
					continue
				}
				valid := len(name) == 2 && store.ValidName(name)
				switch {
				case valid && r.StatusCode == 204:
					made = append(made, name)
				case b == '?' && len(name) == 2 && r.StatusCode == 204: // the name is n
					made = append(made, "n")
				case r.StatusCode != 400:
					t.Errorf("%q: %s", name, r.Status)
				}
			}
		}
		slices.Sort(made)
		names, err := s.List(t.Context())
		if err != nil || !slices.Equal(names, made) || len(made) != 65 {
			t.Errorf("%s: %d made, %q listed, %v", what, len(made), names, err)
		}
	}
}

// Of two that write at once from the same version one is told so, in every kind of store, and what the other wrote is there.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	for what, s := range stores(t) {
		address := serve(t, s, namerd.Options{})
		if err := s.Create(t.Context(), "default", nil); err != nil {
			t.Fatal(err)
		}
		for round := range 10 {
			r, _ := send(t, address, "HEAD", "/api/1/dtabs/default", "")
			statuses := make([]int, 2)
			var wg sync.WaitGroup
			for i := range statuses {
				wg.Go(func() {
					answer, _ := send(t, address, "PUT", "/api/1/dtabs/default", fmt.Sprintf("/a=>/%d/%d", round, i), "Content-Type: text/plain", "If-Match: "+r.Header.Get("ETag"))
					statuses[i] = answer.StatusCode
				})
			}
			wg.Wait()
			won := slices.Index(statuses, 204)
			if e, err := s.Get(t.Context(), "default"); won < 0 || statuses[1-won] != 412 || e.Dtab.String() != fmt.Sprintf("/a=>/%d/%d", round, won) {
				t.Errorf("%s: %v, %s %v", what, statuses, e.Dtab, err)
			}
		}
		changes, err := s.(store.Historian).History(t.Context(), "default", 0)
		if err != nil || len(changes) != 11 {
			t.Errorf("%s: %d changes, %v", what, len(changes), err)
		}
	}
}

// Text that does not parse is told about, and a rollback brings the table back.
func TestRollbackRepairs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := files.Open(dir, files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	registry := prometheus.NewRegistry()
	address := serve(t, store.WithGauge(s, registry), namerd.Options{Registry: registry})
	if r, body := send(t, address, "POST", "/api/1/dtabs/yeezus", "/a=>/b", "Content-Type: text/plain"); r.StatusCode != 204 {
		t.Fatal(r.Status, body)
	}
	r, _ := send(t, address, "HEAD", "/api/1/dtabs/yeezus", "")
	version := r.Header.Get("ETag")
	watching, err := http.Get("http://" + address + "/api/1/dtabs/yeezus?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Body.Close()
	const series = `argosy_namerd_table_unparsable{namespace="yeezus"} 1`
	eventually := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(15 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("not seen: " + what)
			}
		}
	}
	shown := func() bool {
		_, metrics := send(t, address, "GET", "/metrics", "")
		return strings.Contains(metrics, series+"\n")
	}
	if shown() {
		t.Error("unparsable before anything is wrong")
	}
	if err := os.WriteFile(filepath.Join(dir, "yeezus.dtab"), []byte("/a -> /b"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually("the series", shown)
	if r, body := send(t, address, "GET", "/api/1/dtabs/yeezus", ""); r.StatusCode != 500 || !strings.Contains(body, "yeezus.dtab, line 1, column 4: '=' expected but '-' found") {
		t.Error(r.Status, body)
	}
	if r, body := send(t, address, "POST", "/api/1/rollback/yeezus?version="+url.QueryEscape(version), ""); r.StatusCode != 204 {
		t.Error(r.Status, body)
	}
	if r, body := send(t, address, "GET", "/api/1/dtabs/yeezus", "", "Accept: text/plain"); r.StatusCode != 200 || body != "/a=>/b\n" {
		t.Error(r.Status, body)
	}
	eventually("no series any more", func() bool { return !shown() })
	if err := os.WriteFile(filepath.Join(dir, "yeezus.dtab"), []byte("/a -> /b"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually("the series again", shown)
	watching.Body.Close()
	eventually("no series without a watcher", func() bool { return !shown() })
}
