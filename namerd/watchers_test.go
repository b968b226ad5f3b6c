package namerd_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namer/manual"
	"argosy/namerd"
	"argosy/namerd/names"
	"argosy/namerd/store"
)

const asServer = "ARGOSY_TEST_NAMERD_SERVER" // makes the test binary a namerd, so that its memory is only that

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		runServer()
		return
	}
	os.Exit(m.Run())
}

// runServer prints its address and serves until its standard input ends.
func runServer() {
	n := manual.New(1)
	for i := range 100 {
		n.SetEndpoints(strconv.Itoa(i), "127.0.0.1:"+strconv.Itoa(10000+i))
	}
	tables := store.NewMemory(map[string]dtab.Dtab{"default": parse("/svc=>/#/m/0")})
	naming := names.New(tables, namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/m"), Namer: n}}, Linger: -1}, hclog.NewNullLogger())
	defer naming.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	if err := namerd.NewServer(tables, namerd.Options{Names: naming, Registry: registry}).Run(ctx, l); err != nil {
		panic(err)
	}
}

// startServer runs a namerd in a process of its own.
func startServer(t *testing.T) (address string, pid int) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), asServer+"=1")
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	must(t, err)
	stdout, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() {
		stdin.Close()
		must(t, c.Wait())
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	must(t, err)
	return strings.TrimSpace(line), c.Process.Pid
}

// resident is the memory of a process in bytes; 0 where the system does not tell.
func resident(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n << 10
		}
	}
	return 0
}

// TestManyWatchers opens many streams of one name: a change reaches all of them soon, and each costs little. With
// ARGOSY_WATCHERS=10000 it is the figure of the documentation; that takes as many descriptors.
func TestManyWatchers(t *testing.T) {
	n := 1000
	if text := os.Getenv("ARGOSY_WATCHERS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	for _, target := range []string{"dtabs/default?watch=true", "bind/default?path=/svc&watch=true", "resolve/default?path=/svc&watch=true"} {
		t.Run(target, func(t *testing.T) { manyWatchers(t, n, target) })
	}
}

func manyWatchers(t *testing.T, n int, target string) {
	address, pid := startServer(t)
	before := resident(pid)
	seen := make(chan time.Time, n)
	next := make([]chan string, n) // what each reader waits for
	var readers sync.WaitGroup
	defer readers.Wait()
	for i := range n {
		conn, err := net.Dial("tcp", address)
		must(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "GET /api/1/%s HTTP/1.1\r\nHost: namerd\r\n\r\n", target)
		must(t, err)
		next[i] = make(chan string, 1)
		readers.Go(func() {
			buffer := make([]byte, 1024)
			for marker := range next[i] {
				for have := []byte(nil); !bytes.Contains(have, []byte(marker)); {
					k, err := conn.Read(buffer)
					if err != nil {
						return
					}
					have = append(have, buffer[:k]...)
				}
				seen <- time.Now()
			}
		})
	}
	all := func(marker string, change func()) (first, last time.Duration) {
		for _, c := range next {
			c <- marker
		}
		begun := time.Now()
		change()
		for i := range n {
			select {
			case at := <-seen:
				if last = max(last, at.Sub(begun)); i == 0 {
					first = at.Sub(begun)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%d of %d readers have it after 30s", i, n)
			}
		}
		return first, last
	}
	marker := func(i int) string {
		if strings.HasPrefix(target, "resolve") {
			return `"port":` + strconv.Itoa(10000+i)
		}
		return fmt.Sprintf("/#/m/%d\"", i)
	}
	all(marker(0), func() {})
	var took []time.Duration
	for i := range 10 {
		_, last := all(marker(i+1), func() {
			if r, _ := send(t, address, "PUT", "/api/1/dtabs/default", fmt.Sprintf("/svc=>/#/m/%d", i+1), "Content-Type: application/dtab"); r.StatusCode != 204 {
				t.Fatal(r.Status)
			}
		})
		took = append(took, last)
	}
	each := (resident(pid) - before) / n
	slices.Sort(took)
	t.Logf("%d watchers: all have a change after %v (median of 10, worst %v); %d KiB of memory for each", n, took[5].Round(time.Millisecond), took[9].Round(time.Millisecond), each>>10)
	if took[9] > 20*time.Second {
		t.Errorf("a change takes %v", took[9])
	}
	if each > 500<<10 {
		t.Errorf("a watcher costs %d bytes", each)
	}
	for _, c := range next {
		close(c)
	}
}

// TestStreamsLeaveNothing opens streams of all kinds, and drops them in all ways.
func TestStreamsLeaveNothing(t *testing.T) {
	address, _ := startServer(t)
	goroutines := func() int {
		for line := range strings.Lines(bodyOf(t, address, "/metrics")) {
			if rest, ok := strings.CutPrefix(line, "go_goroutines "); ok {
				n, _ := strconv.Atoi(strings.TrimSpace(rest))
				return n
			}
		}
		t.Fatal("no count of goroutines")
		return 0
	}
	before := goroutines()
	for range 4 {
		var conns []net.Conn
		for i := range 250 {
			conn, err := net.Dial("tcp", address)
			must(t, err)
			targets := []string{"dtabs?", "dtabs/default?", "dtabs/none?", "bind/default?path=/svc/x", "bind/default?path=/%23/m/pending" + strconv.Itoa(i), "resolve/default?path=/svc",
				"addr/default?path=/%23/m/" + strconv.Itoa(i%120), "bound-names?", "bind/default?path=/x&dtab=/x=>/" + strconv.Itoa(i)}
			head := "GET /api/1/%s&watch=true HTTP/1.1\r\nHost: namerd\r\n\r\n"
			if i%5 == 0 {
				head = "POST /api/1/%s&watch=true HTTP/1.1\r\nHost: namerd\r\nContent-Length: 10\r\n\r\nhalf" // the rest never comes
			}
			fmt.Fprintf(conn, head, targets[i%len(targets)])
			conns = append(conns, conn)
		}
		for i, c := range conns {
			switch i % 4 {
			case 0:
				if i%5 != 0 {
					_, _ = c.Read(make([]byte, 100))
				}
			case 1:
				must(t, c.(*net.TCPConn).SetLinger(0)) // a reset
			case 2:
				must(t, c.(*net.TCPConn).CloseWrite())
			}
			c.Close()
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for now := goroutines(); now > before+2; now = goroutines() { // a connection of ours may be on its way out
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", now, before)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
