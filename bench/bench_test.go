package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
)

func TestPrint(t *testing.T) {
	var b strings.Builder
	printFigures(&b, []figure{
		{"time", "µs", []float64{1234.5, 42, 0.01234}, "a note"},
		{"longer name", "", nil, "none"},
	})
	want := `                  min  median   max  unit  n
  time         0.0123    42.0  1234    µs  3  a note
  longer name       -       -     -        0  none
`
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string // in one of the outputs
	}{
		{"-list", 0, "watchers"},
		{"-list -only bind", 0, "bind              binding a name\n"},
		{"-only nothing", 2, `bench: there is no section "nothing"; -list shows what there is`},
		{"-runs 0", 2, "bench: -runs is 0, not from 1 to 1000"},
		{"-rest 1ms", 2, "bench: -rest is 1ms, not from 1s to 1h"},
		{"-services x", 2, "invalid value"},
		{"parse", 2, `bench: unexpected argument "parse"`},
		{"-h", 0, "-watchers"},
	} {
		var out, errs strings.Builder
		if code := run(t.Context(), strings.Fields(c.args), &out, &errs); code != c.code || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%s: exit code %d\n%s%s", c.args, code, out.String(), errs.String())
		}
	}
}

// The measured table is what it claims to be: so many entries, so many rewrites.
func TestTable(t *testing.T) {
	for _, entries := range []int{10, 1000, 10_000} {
		d, err := dtab.Parse(table(entries))
		if err != nil || len(d) != entries {
			t.Fatalf("%d entries, %v, want %d", len(d), err, entries)
		}
		path, steps := dtab.MustParsePath("/svc/redis"), 0
		for !path.HasPrefix(dtab.Path{"#"}) {
			next := d.Lookup(path)
			if next.Kind != dtab.Leaf {
				t.Fatalf("%s leads to %+v", path, next)
			}
			path = next.Leaf
			steps++
		}
		if steps != rewrites || path.String() != "/#/static/redis" {
			t.Errorf("%d entries: %s after %d rewrites", entries, path, steps)
		}
	}
}

func TestProcess(t *testing.T) {
	used, err := cpu(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; { // until a tick has been counted
		again, err := cpu(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if again > used {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no CPU time is counted beyond %v", used)
		}
	}
	if mib, err := memory(os.Getpid()); err != nil || mib < 1 || mib > 10_000 {
		t.Errorf("%v MiB, %v", mib, err)
	}
	if _, err := memory(1 << 30); err == nil {
		t.Error("there is memory of a process that does not exist")
	}
	if _, err := cpu(1 << 30); err == nil {
		t.Error("there is CPU time of a process that does not exist")
	}
}

func TestDescriptors(t *testing.T) {
	if err := needDescriptors(10, "watchers"); err != nil {
		t.Error(err)
	}
	err := needDescriptors(1<<31-1, "watchers")
	if err == nil || !strings.Contains(err.Error(), "raise the hard limit (ulimit -Hn), or ask for fewer with -watchers") {
		t.Errorf("got %v", err)
	}
}

func TestVersionIn(t *testing.T) {
	for line, want := range map[string]int{
		`[{"prefix":"/svc","dst":"/$/inet/127.0.0.1/10007"}]`: 7,
		`{"id":"/$/inet/127.0.0.1/10000","path":"/redis"}`:    0,
		`{"type":"neg"}`: -1, `/127.0.0.1/1`: -1, `/127.0.0.1/x0000`: -1,
	} {
		if got := versionIn([]byte(line)); got != want {
			t.Errorf("%s: %d, want %d", line, got, want)
		}
	}
	if d, err := dtab.Parse(tableVersion(3)); err != nil || versionIn([]byte(d.String())) != 3 {
		t.Errorf("%s, %v", d, err)
	}
}

func TestAnswerer(t *testing.T) {
	a, err := newAnswerer('x')
	if err != nil {
		t.Fatal(err)
	}
	if got, err := answerOf(t.Context(), a.port); err != nil || got != 'x' {
		t.Errorf("%c, %v", got, err)
	}
	a.close()
	if _, err := answerOf(t.Context(), a.port); err == nil {
		t.Error("answers after its end")
	}
}

// What goes through the front is counted, and comes out as it was; who goes away in between is let go.
func TestFront(t *testing.T) {
	gone := make(chan struct{})
	consul := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/health/service/web":
			w.Header().Set("X-Consul-Index", "7")
			fmt.Fprint(w, r.URL.RawQuery)
		case "/v1/wait":
			<-r.Context().Done()
			close(gone)
		default:
			http.Error(w, "busy", http.StatusTooManyRequests)
		}
	}))
	defer consul.Close()
	f, err := newFront(consul.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for range 3 {
		resp, err := http.Get("http://" + f.addr + "/v1/health/service/web?index=3")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "index=3" || err != nil || resp.Header.Get("X-Consul-Index") != "7" {
			t.Errorf("%q, %v, %v", body, resp.Header, err)
		}
	}
	if code, err := status(t.Context(), "http://"+f.addr+"/other"); err != nil || code != http.StatusTooManyRequests {
		t.Errorf("status %d, %v", code, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := status(ctx, "http://"+f.addr+"/v1/wait"); err == nil {
		t.Error("an answer where none was given")
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the server is not told that the client has gone")
	}
	if requests, refused, known := f.counts(); requests != 5 || refused != 1 || known != 1 {
		t.Errorf("%d requests, %d refused, %d known", requests, refused, known)
	}
}

// What can be measured without servers is measured, in small.
func TestSmallMeasurements(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	s := settings{runs: 1, entries: 50, files: 20, rest: time.Second, progress: t.Output()}
	for _, m := range []struct {
		name    string
		measure func(context.Context, settings) ([]figure, error)
		figures int
	}{{"parse", parseTable, 3}, {"bind", bindName, 3}, {"files", followFiles, 3}} {
		figures, err := m.measure(t.Context(), s)
		if err != nil || len(figures) != m.figures {
			t.Errorf("%s: %+v, %v", m.name, figures, err)
		}
		for _, f := range figures {
			if len(f.values) == 0 {
				t.Errorf("%s: %+v has no values", m.name, f)
			}
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := followFiles(ended, s); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
