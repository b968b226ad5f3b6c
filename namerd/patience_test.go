package namerd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namer/manual"
	"argosy/namerd/names"
	"argosy/namerd/store"
)

// inMemory runs a namerd whose namer is driven by hand, on connections in memory.
func inMemory(t *testing.T, test func(tables *store.Memory, n *manual.Namer, dial func() net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tables, n := store.NewMemory(map[string]dtab.Dtab{"default": nil}), manual.New(1)
		naming := names.New(tables, namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/m"), Namer: n}}, Linger: -1}, hclog.NewNullLogger())
		ctx, stop := context.WithCancel(t.Context())
		l := pipes{conns: make(chan net.Conn), done: ctx}
		ended := make(chan error, 1)
		go func() { ended <- NewServer(tables, Options{Names: naming}).Run(ctx, l) }()
		test(tables, n, func() net.Conn {
			client, server := net.Pipe()
			l.conns <- server
			return client
		})
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		naming.Close()
	})
}

func ask(conn net.Conn, target string) {
	fmt.Fprintf(conn, "GET /api/1/%s HTTP/1.1\r\nHost: x\r\n\r\n", target)
}

// TestUnknownInTime: nobody waits for ever for what does not get known, and who asks in time gets it.
func TestUnknownInTime(t *testing.T) {
	inMemory(t, func(_ *store.Memory, n *manual.Namer, dial func() net.Conn) {
		n.SetAddr("dns", namer.Addr{Status: namer.Pending})
		for target, want := range map[string]struct {
			after  time.Duration
			answer string
		}{
			"bind/default?path=/%23/m/never":     {nameTimeout, "503 /#/m/never is not known within 10s"},
			"bind/default?path=/%23/m/dns":       {nameTimeout, "503 /#/m/dns is not known within 10s"},
			"addr/default?path=/%23/m/never":     {nameTimeout, "503 /#/m/never is not known within 10s"},
			"resolve/default?path=/%23/m/never":  {nameTimeout, "503 /#/m/never is not known within 10s"},
			"resolve/default?path=/%23/m/dns":    {nameTimeout, "503 /#/m/dns is not known within 10s"},
			"delegate/default?path=/%23/m/never": {delegateTimeout, "503 Request timed out."},
			"delegate?path=/%23/m/dns":           {delegateTimeout, "503 Request timed out."},
			"bind/default?path=/%23/m/late":      {nameTimeout - time.Second, `200 {"type":"leaf","bound":{"addr":{"type":"bound","addrs":[],"meta":{}},"id":"/#/m/late","path":"/"}}`},
		} {
			n.Forget("late")
			begun := time.Now()
			timer := time.AfterFunc(nameTimeout-time.Second, func() { n.SetEndpoints("late") })
			conn := dial()
			ask(conn, target)
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			if got := fmt.Sprintf("%d %s", r.StatusCode, strings.TrimSpace(string(body))); got != want.answer || time.Since(begun) != want.after {
				t.Errorf("%s: %s after %v, want %s after %v", target, got, time.Since(begun), want.answer, want.after)
			}
			timer.Stop()
			conn.Close()
		}
	})
}

// TestBindStreamWithUnknownAddresses: a tree is told with its addresses, or without if they do not come.
func TestBindStreamWithUnknownAddresses(t *testing.T) {
	inMemory(t, func(_ *store.Memory, n *manual.Namer, dial func() net.Conn) {
		n.SetAddr("dns", namer.Addr{Status: namer.Pending})
		conn := dial()
		defer conn.Close()
		begun := time.Now()
		ask(conn, "bind/default?path=/%23/m/dns&watch=true")
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("the head comes after %v", took)
		}
		lines := bufio.NewScanner(r.Body)
		lines.Scan()
		if !strings.Contains(lines.Text(), `{"type":"pending"}`) || time.Since(begun) != nameTimeout {
			t.Errorf("%s after %v", lines.Text(), time.Since(begun))
		}
	})
}

// TestSlowReader: a reader that is slow gets the newest state next, and one that is stuck is given up.
func TestSlowReader(t *testing.T) {
	inMemory(t, func(_ *store.Memory, n *manual.Namer, dial func() net.Conn) {
		n.SetEndpoints("a", "127.0.0.1:1")
		conn := dial()
		defer conn.Close()
		ask(conn, "addr/default?path=/%23/m/a&watch=true")
		r, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(r.Body)
		read := func() string {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			return line
		}
		read()
		for port := 2; port < 1000; port++ {
			n.SetEndpoints("a", fmt.Sprintf("127.0.0.1:%d", port))
			synctest.Wait()
		}
		time.Sleep(writeTimeout - time.Second)
		next := read()
		if strings.Contains(next, `"port":2,`) { // it was being written when the reader stopped reading
			next = read()
		}
		if !strings.Contains(next, `"port":999,`) {
			t.Errorf("a slow reader gets %s", next)
		}
		// From here on nothing is read.
		n.SetEndpoints("a", "127.0.0.1:1000")
		synctest.Wait()
		time.Sleep(writeTimeout - time.Second)
		synctest.Wait()
		if len(n.Watching()) != 1 {
			t.Error("given up too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if left := n.Watching(); len(left) != 0 {
			t.Errorf("a stuck reader stays: %v", left)
		}
	})
}

// TestStreamOfManyHours: a stream in which nothing happens stays.
func TestStreamOfManyHours(t *testing.T) {
	inMemory(t, func(tables *store.Memory, n *manual.Namer, dial func() net.Conn) {
		n.SetEndpoints("a", "127.0.0.1:1")
		conn := dial()
		defer conn.Close()
		ask(conn, "bind/default?path=/x&watch=true")
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(r.Body)
		for _, want := range []string{`{"type":"neg"}`, `{"type":"empty"}`, `{"type":"fail"}`} {
			if !lines.Scan() || lines.Text() != want {
				t.Fatalf("got %q %v, want %q", lines.Text(), lines.Err(), want)
			}
			time.Sleep(100 * time.Hour)
			text := map[string]string{`{"type":"neg"}`: "/x=>$", `{"type":"empty"}`: "/x=>!"}[want]
			table, _ := dtab.Parse(text)
			if err := tables.Put(t.Context(), "default", table); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestStreamWithBody: what asks for a stream and has a body is not waited for for ever either.
func TestStreamWithBody(t *testing.T) {
	inMemory(t, func(_ *store.Memory, _ *manual.Namer, dial func() net.Conn) {
		for body, want := range map[string]string{"0123456789": "200", "half": "400"} {
			conn := dial()
			begun := time.Now()
			fmt.Fprintf(conn, "POST /api/1/bind/default?path=/x&watch=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n%s", body)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.Contains(line, want) || time.Since(begun) > bodyTimeout {
				t.Errorf("%q: %s after %v, %v", body, line, time.Since(begun), err)
			}
			conn.Close()
		}
	})
}
