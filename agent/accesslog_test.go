package agent

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/agent/config"
)

// accessLine is a line as a reader sees it.
type accessLine struct {
	Time       time.Time
	Event      string
	ID         uint64
	Listener   string
	Client     string
	Name       string
	ServerName string `json:"server_name"`
	Dtab       []struct {
		Entry int
		Text  string
	}
	Cluster, Endpoint string
	Attempts          int
	In                int64    `json:"bytes_in"`
	Out               int64    `json:"bytes_out"`
	Named             *float64 `json:"name_seconds"`
	Connected         *float64 `json:"connect_seconds"`
	Answered          *float64 `json:"first_byte_seconds"`
	Duration          float64  `json:"duration_seconds"`
	Outcome           string
	First             string `json:"closed_first"`
	Error             string
}

func accessLines(t *testing.T, text string) []accessLine {
	t.Helper()
	var all []accessLine
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		all = append(all, decode[accessLine](t, line))
	}
	return all
}

// eventuallyLines waits until a file has so many lines.
func eventuallyLines(t *testing.T, path string, n int) []accessLine {
	t.Helper()
	var all []accessLine
	eventually(t, "the access log is written", func() bool {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = accessLines(t, string(b))
		return len(all) >= n
	})
	return all
}

func TestAccessLog(t *testing.T) {
	redis, down := startBackend(t, "redis1"), downAddress(t)
	path := filepath.Join(t.TempDir(), "access.log")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}, "down": {down}})
	table := mustDtab("/svc => /#/static; /svc/cache => /svc/nothing | /svc/redis")
	cfg.Dtab.Static = &table
	full := listenerTo("full", "/svc/redis")
	full.MaxConnections = 1
	cfg.Listeners = []config.Listener{listenerTo("cache", "/svc/cache"), listenerTo("down", "/svc/down"), full}
	cfg.AccessLog = &config.AccessLog{File: path, Open: true, Interval: time.Second}
	p := startAgent(t, cfg)

	c, _ := p.dial("cache")
	echo(t, c, "some bytes")
	lines := eventuallyLines(t, path, 2)
	opened, periodic := lines[0], lines[1]
	if opened.Event != "open" || opened.Listener != "cache" || opened.Client != c.LocalAddr().String() || opened.Name != "/svc/cache" ||
		opened.Cluster != "/#/static/redis" || opened.Endpoint != redis.addr || opened.Attempts != 1 || opened.Outcome != "" ||
		opened.Named == nil || opened.Connected == nil || opened.ID == 0 {
		t.Errorf("opened: %+v", opened)
	}
	if len(opened.Dtab) != 2 || opened.Dtab[0].Entry != 2 || !strings.HasPrefix(opened.Dtab[0].Text, "/svc/cache => ") || opened.Dtab[1].Entry != 1 {
		t.Errorf("entries: %+v", opened.Dtab)
	}
	if periodic.Event != "periodic" || periodic.ID != opened.ID || periodic.In != 10 || periodic.Out != 17 || periodic.Duration < 1 {
		t.Errorf("periodic: %+v", periodic)
	}
	c.(*net.TCPConn).CloseWrite()
	io.ReadAll(c)
	p.refusal("down")
	one, _ := p.dial("full")
	p.refusal("full")
	p.expectClosed("full", "limit", 1)
	one.Close()
	p.expectClosed("full", "ok", 1)
	p.leave()
	p.wait() // with the end all is written

	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	closed := map[string]accessLine{}
	for _, l := range accessLines(t, string(b)) {
		if l.Event == "close" {
			closed[l.Listener+" "+l.Outcome] = l
		}
	}
	if len(closed) != 4 {
		t.Errorf("lines:\n%s", b)
	}
	if l := closed["cache ok"]; l.ID != opened.ID || l.In != 10 || l.Out != 17 || l.First != "client" || l.Duration < periodic.Duration ||
		l.Answered == nil || *l.Answered <= 0 || *l.Answered > l.Duration || *l.Connected > l.Duration || len(l.Dtab) != 2 {
		t.Errorf("closed: %+v", l)
	}
	if l := closed["down dial"]; l.Name != "/svc/down" || l.Endpoint != down || l.Attempts == 0 || l.Error == "" || l.Connected != nil {
		t.Errorf("not connected: %+v", l)
	}
	if l := closed["full limit"]; l.Client == "" || l.Duration != 0 {
		t.Errorf("refused: %+v", l)
	}
	if n := p.metricValue("argosy_access_log_dropped_total"); n != 0 {
		t.Errorf("%v lines are lost", n)
	}
}

// metricValue reads a metric without labels after the admin endpoint is gone.
func (p *proxy) metricValue(name string) float64 {
	families, err := p.agent.deps.Registry.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}

// With a reload the file is opened again; it can be turned off and on, and a file that cannot be had changes nothing.
func TestAccessLogReload(t *testing.T) {
	redis := startBackend(t, "redis1")
	path := filepath.Join(t.TempDir(), "access.log")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	p.dial("redis") // while it is off
	with := func(log *config.AccessLog) *config.Config {
		next := *cfg
		next.AccessLog = log
		return &next
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bad := &config.AccessLog{File: filepath.Join(path, "below", "a", "file"), Open: true}
	if err := p.agent.Reload(with(bad)); err == nil || !strings.Contains(err.Error(), "access log: ") {
		t.Errorf("error %v", err)
	}
	on := with(&config.AccessLog{File: path, Open: true})
	must(p.agent.Reload(on))
	p.dial("redis")
	must(os.Rename(path, path+".1"))
	must(p.agent.Reload(on))
	p.dial("redis")
	must(p.agent.Reload(with(nil)))
	p.dial("redis")
	if first, second := eventuallyLines(t, path+".1", 1), eventuallyLines(t, path, 1); len(first) != 1 || len(second) != 1 {
		t.Errorf("lines %+v and %+v", first, second)
	}
	must(p.agent.Reload(on))
	p.agent.Cut()
	p.wait()
	closed := 0
	for _, l := range eventuallyLines(t, path, 5) {
		if l.Event == "close" && l.Outcome == "drained" {
			closed++
		}
	}
	if closed != 4 {
		t.Errorf("%d lines of closed connections", closed)
	}
}

// A configuration that comes to nothing leaves no file open.
func TestAccessLogUndone(t *testing.T) {
	cfg := baseConfig(nil)
	cfg.Listeners = []config.Listener{listenerTo("a", "/svc/a")}
	a, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	_, before := settled(t)
	next := *cfg
	next.AccessLog = &config.AccessLog{File: filepath.Join(t.TempDir(), "access.log")}
	for range 5 {
		if err := a.Reload(&next); err == nil {
			t.Fatal("an agent that does not run reloads")
		}
	}
	if after := descriptors(t); after > before+2 {
		t.Errorf("%d descriptors, before %d", after, before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ctx); err != nil { // gives up what New has taken
		t.Error(err)
	}
}

// standing is a writer that stands still.
type standing struct {
	once  sync.Once
	begun chan struct{}
	free  chan struct{}
}

func (s *standing) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	<-s.free
	return len(b), nil
}

// A writer that stands still does not hold up traffic, nor the end.
func TestAccessLogStandsStill(t *testing.T) {
	redis := startBackend(t, "redis1")
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	cfg.AccessLog = &config.AccessLog{File: "stdout", Open: true, Interval: time.Second}
	w := &standing{begun: make(chan struct{}), free: make(chan struct{})}
	p := startAgentTo(t, cfg, w)
	use := func(n int) {
		for range n {
			c, err := net.Dial("tcp", p.address("redis"))
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			greeting(t, c)
			echo(t, c, "ping")
			c.Close()
		}
	}
	use(1)
	<-w.begun
	use(200)
	p.expectClosed("redis", "ok", 201)
	p.leave()
	p.wait()
	close(w.free)
	if !p.agent.access.Close(patience) {
		t.Error("the writer does not end")
	}
	if !strings.Contains(p.log.String(), "could not be written to the end") {
		t.Error("not said")
	}
}

func TestAccessLinesAreJSON(t *testing.T) {
	redis := startBackend(t, "redis1")
	var out syncBuffer
	cfg := baseConfig(map[string][]string{"redis": {redis.addr}})
	cfg.Listeners = []config.Listener{listenerTo("redis \"1\"\n", "/svc/redis")}
	cfg.AccessLog = &config.AccessLog{File: "stderr"}
	p := startAgentTo(t, cfg, &out)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				c, err := net.Dial("tcp", p.address("redis \"1\"\n"))
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			}
		})
	}
	all.Wait()
	p.leave()
	p.wait()
	n := 0
	for line := range strings.Lines(out.String()) {
		if n++; !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
	}
	if n != 400 {
		t.Errorf("%d lines", n)
	}
}
