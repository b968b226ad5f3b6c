package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/namer"
)

const patience = 20 * time.Second

type counter struct {
	mu sync.Mutex
	n  float64
}

func (c *counter) Add(n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) value() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.n)
}

func TestLine(t *testing.T) {
	r := Record{
		Time: time.Date(2026, 5, 4, 10, 12, 1, 123456000, time.UTC), Event: EventClose, ID: 7, Listener: "redis",
		Client: netip.MustParseAddrPort("10.0.0.9:40000"), Name: dtab.MustParsePath("/svc/redis"),
		Rewrites: &namer.Rewrite{Entry: 0, Text: "/svc => /#/static", Before: &namer.Rewrite{Entry: 1, Text: "/svc/redis => /svc/redis2"}},
		Cluster:  "/#/static/redis2", Endpoint: "10.0.0.1:6379", Attempts: 1, In: 10, Out: 17,
		Connected: 412 * time.Microsecond, Answered: 1501 * time.Microsecond, Duration: 2 * time.Second, Outcome: "ok", ClosedFirst: "client",
	}
	const want = `{"time":"2026-05-04T10:12:01.123456Z","event":"close","id":7,"listener":"redis","client":"10.0.0.9:40000","name":"/svc/redis",` +
		`"dtab":[{"entry":2,"text":"/svc/redis => /svc/redis2"},{"entry":1,"text":"/svc => /#/static"}],"cluster":"/#/static/redis2",` +
		`"endpoint":"10.0.0.1:6379","attempts":1,"bytes_in":10,"bytes_out":17,"name_seconds":0,"connect_seconds":0.000412,` +
		`"first_byte_seconds":0.001501,"duration_seconds":2,"outcome":"ok","closed_first":"client"}` + "\n"
	if got := string(r.append(nil)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	hostile := Record{
		Event: EventClose, ServerName: "a\"b\\c\n\x00\xff</script>", Peer: "spiffe://ü", Error: strings.Repeat("x", 1000),
		Named: -1, Connected: -1, Answered: -1, Proxy: netip.MustParseAddrPort("[fe80::1%eth0]:1"), ALPN: "h2",
	}
	line := hostile.append(nil)
	if bytes.Count(line, []byte("\n")) != 1 {
		t.Errorf("more than one line: %q", line)
	}
	var v map[string]any
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if v["server_name"] != "a\"b\\c\n\x00\ufffd</script>" || v["client"] != "unix" || v["proxy"] != "[fe80::1%eth0]:1" || v["name_seconds"] != nil {
		t.Errorf("got %v", v)
	}
}

// stuck is a writer that stands still until it is released.
type stuck struct {
	bytes.Buffer
	begun, free chan struct{}
	once        sync.Once
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	<-s.free
	return s.Buffer.Write(p)
}

func (s *stuck) Close() error { return nil }

// A writer that stands still costs lines, and no time and no memory without bound.
func TestNeverWaits(t *testing.T) {
	lost := &counter{}
	l := New(hclog.NewNullLogger(), lost)
	w := &stuck{begun: make(chan struct{}), free: make(chan struct{})}
	l.Use(&Sink{w, "stuck"})
	for range flushEarly {
		l.Add(Record{Event: EventOpen})
	}
	<-w.begun
	for range mostPending + 100 {
		l.Add(Record{Event: EventClose})
	}
	if got := lost.value(); got < 100 || got > 100+flushEarly {
		t.Errorf("%d lines are lost", got)
	}
	if l.Close(10 * time.Millisecond) {
		t.Error("closed in time though the writer stands still")
	}
	close(w.free)
	if !l.Close(patience) {
		t.Fatal("not closed in time")
	}
	if got := strings.Count(w.String(), "\n"); got+lost.value() != flushEarly+mostPending+100 {
		t.Errorf("%d lines are written, %d lost", got, lost.value())
	}
	l.Add(Record{}) // does nothing any more
}

func lines(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
	}
	return strings.Count(string(b), "\n")
}

func mustOpen(t *testing.T, path string) *Sink {
	t.Helper()
	s, err := Open(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	lost := &counter{}
	l := New(hclog.NewNullLogger(), lost)
	if l.On() {
		t.Error("on without a sink")
	}
	l.Add(Record{})
	l.Use(mustOpen(t, path))
	if !l.On() {
		t.Error("off with a sink")
	}
	l.Add(Record{Event: EventOpen})
	for until := time.Now().Add(patience); lines(t, path) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("not written by itself")
		}
	}
	for range 5 { // sinks that come so fast that some are never used
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		l.Use(mustOpen(t, path))
		l.Add(Record{Event: EventClose})
	}
	if !l.Close(patience) || lines(t, path) != 1 || lines(t, path+".1") != 1 {
		t.Error("lines are in the wrong file")
	}
	if lost.value() != 0 {
		t.Errorf("%d lines are lost", lost.value())
	}
}

func TestTurnedOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	lost := &counter{}
	l := New(hclog.NewNullLogger(), lost)
	l.Use(mustOpen(t, path))
	l.Add(Record{Event: EventClose})
	l.Use(nil)
	l.Add(Record{Event: EventClose})
	if !l.Close(patience) || lines(t, path) != 1 || lost.value() != 0 {
		t.Errorf("%d lines, %d lost", lines(t, path), lost.value())
	}
}

// full takes so many bytes and then is full.
type full struct {
	mu   sync.Mutex
	left int
	got  bytes.Buffer
}

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(p), f.left)
	f.left -= n
	f.got.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func (f *full) Close() error { return nil }

// A full disk is said once. When there is room again, lines are whole.
func TestFullDisk(t *testing.T) {
	var log bytes.Buffer
	lost := &counter{}
	l := New(hclog.New(&hclog.LoggerOptions{Output: &log}), lost)
	line := len((&Record{Event: EventClose}).append(nil))
	f := &full{left: line + line/2}
	sink := &Sink{f, "access.log"} // put is the writer's, which has not begun
	var b []byte
	b = l.put(sink, b, nil)
	three := []Record{{Event: EventClose}, {Event: EventClose}, {Event: EventClose}}
	b = l.put(sink, b, three)
	b = l.put(sink, b, three)
	if lost.value() != 5 || strings.Count(log.String(), "lines are lost") != 1 || !strings.Contains(log.String(), errFull.Error()) {
		t.Errorf("%d lost, log %s", lost.value(), log.String())
	}
	f.left = 1 << 20
	l.put(sink, b, three)
	got := strings.SplitAfter(f.got.String(), "\n")
	valid := 0
	for _, g := range got {
		if json.Valid([]byte(g)) {
			valid++
		}
	}
	if valid != 4 || !strings.Contains(log.String(), "written again") {
		t.Errorf("%d whole lines in %q; log %s", valid, f.got.String(), log.String())
	}
}

func TestAddSlowly(t *testing.T) {
	lost := &counter{}
	l := New(hclog.NewNullLogger(), lost)
	w := &stuck{begun: make(chan struct{}), free: make(chan struct{})}
	l.Use(&Sink{w, "stuck"})
	added := make(chan struct{})
	go func() {
		defer close(added)
		for range 3 * mostPending {
			l.AddSlowly(t.Context(), Record{Event: EventPeriodic})
		}
	}()
	<-w.begun
	close(w.free)
	<-added
	if !l.Close(patience) || lost.value() != 0 || strings.Count(w.String(), "\n") != 3*mostPending {
		t.Errorf("%d lost", lost.value())
	}
}

func TestOpenFails(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "no", "access.log"), nil, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "access log: open ") {
		t.Errorf("error %v", err)
	}
}
