//go:build servers

package consul

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consulclient"
	"argosy/internal/consultest"
	"argosy/internal/devca"
	"argosy/internal/settings"
	"argosy/internal/watch"
	"argosy/namer"
)

// registerMany puts services into the catalog, with one instance and one check each, on fifty nodes.
func registerMany(t testing.TB, c *consultest.Consul, count int) {
	t.Helper()
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 {
		wg.Go(func() {
			for i := range next {
				if _, err := c.Client.Catalog().Register(manyEntry(i, 1), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	wg.Wait()
}

func manyEntry(i, port int) *api.CatalogRegistration {
	name, node := fmt.Sprintf("svc-%d", i), fmt.Sprintf("node-%d", i%50)
	return &api.CatalogRegistration{
		Node: node, Address: fmt.Sprintf("10.0.%d.1", i%50), SkipNodeUpdate: i >= 50,
		Service: &api.AgentService{ID: name + "-1", Service: name, Port: port},
		Check: &api.AgentCheck{Node: node, CheckID: "check-" + name, Name: "up", Status: "passing", ServiceID: name + "-1", ServiceName: name,
			Output: fmt.Sprintf("HTTP GET http://10.0.0.1:%d/health: 200 OK Output: fine", port)},
	}
}

// Following many services of one Consul, and what that costs. ARGOSY_MANY says how many; 5000 are what docs/namers.md
// speaks of.
func TestRealManyServices(t *testing.T) {
	c := consultest.Start(t, consultest.Options{})
	many(t, c, c.Client, NewSeats(c.Client, nil), DefaultSeats)
}

// Over HTTPS each of them has a blocking query.
func TestRealManyServicesOverHTTPS(t *testing.T) {
	dir := t.TempDir()
	ca, err := devca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(dir, "consul", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	c := consultest.Start(t, consultest.Options{HCL: fmt.Sprintf(`
ports { https = %d }
tls {
  https {
    cert_file = %q
    key_file  = %q
  }
}`, port, files.Cert, files.Key)})
	client, link, err := consulclient.NewLinked(settings.Consul{Address: fmt.Sprintf("https://127.0.0.1:%d", port), CAFile: files.CA})
	if err != nil {
		t.Fatal(err)
	}
	many(t, c, client, NewSeats(client, func() int {
		if link.Multiplexed() {
			return 10_000
		}
		return DefaultSeats
	}), 0)
}

// many follows services through seats, limit of which wait at Consul; 0: all.
func many(t *testing.T, c *consultest.Consul, client *api.Client, seats *Seats, limit int) {
	count, changes, rest := 300, 2, time.Second
	if text := os.Getenv("ARGOSY_MANY"); text != "" {
		changes, rest = 12, 10*time.Second
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	registerMany(t, c, count)
	runtime.GC()
	memory := resident(t)

	o := usual
	o.Seats = seats
	n := New(client, o, hclog.NewNullLogger(), nil)
	in := namer.NewInterpreter(namer.Options{Mounts: []namer.Mount{{Prefix: dtab.Path{"#", "c"}, Namer: n}}})
	defer func() {
		in.Close()
		seats.mu.Lock()
		defer seats.mu.Unlock()
		if len(seats.members) != 0 || len(seats.callers) != 0 || len(seats.sites) != 0 || seats.taken != 0 {
			t.Errorf("what goes on when nothing is followed: %d members, %d callers, %d seats", len(seats.members), len(seats.callers), seats.taken)
		}
	}()
	start := time.Now()
	var known atomic.Int64
	ports := make([]atomic.Int64, count)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer func() { cancel(); wg.Wait() }()
	under := in.Under(watch.Fixed(namer.TableState{Status: namer.OK}), nil)
	for i := range count {
		wg.Go(func() {
			first := true
			for b := range watch.Values(ctx, under.Bind(ctx, dtab.Path{"#", "c", "dc1", fmt.Sprintf("svc-%d", i)})) {
				if b.Status == namer.OK && len(b.Clusters) == 1 && len(b.Clusters[0].Addr.Endpoints) == 1 {
					_, port, _ := strings.Cut(b.Clusters[0].Addr.Endpoints[0].Addr, ":")
					p, _ := strconv.Atoi(port)
					ports[i].Store(int64(p))
					if first {
						first = false
						known.Add(1)
					}
				}
			}
		})
	}
	consultest.Eventually(t, 2*time.Minute, func() error {
		if n := known.Load(); n < int64(count) {
			return fmt.Errorf("%d of %d are known", n, count)
		}
		return nil
	})
	t.Logf("%d services known after %v", count, time.Since(start).Round(time.Millisecond))
	consultest.Eventually(t, time.Minute, func() error {
		seats.mu.Lock()
		defer seats.mu.Unlock()
		if limit == 0 && seats.taken != count || limit > 0 && (seats.taken != limit || seats.callers["dc1"] == nil) {
			return fmt.Errorf("%d seats, callers %v", seats.taken, seats.callers)
		}
		return nil
	})
	time.Sleep(rest / 4)
	runtime.GC()
	t.Logf("memory: %.1f KiB for each service (resident, with the Go runtime's), %d goroutines", float64(resident(t)-memory)/float64(count)/1024, runtime.NumGoroutine())

	cpu, consulCPU, requests := ownCPU(t), cpuOf(t, c.Pid()), seats.requests.Load()
	time.Sleep(rest)
	t.Logf("at rest: %.1f requests/s, CPU %.2f%% here, %.2f%% in Consul", float64(seats.requests.Load()-requests)/rest.Seconds(),
		100*(ownCPU(t)-cpu).Seconds()/rest.Seconds(), 100*(cpuOf(t, c.Pid())-consulCPU).Seconds()/rest.Seconds())

	hot, cold := []int{}, []int{}
	seats.mu.Lock()
	for m := range seats.members {
		i, _ := strconv.Atoi(strings.TrimPrefix(m.service, "svc-"))
		if m.seated {
			hot = append(hot, i)
		} else {
			cold = append(cold, i)
		}
	}
	seats.mu.Unlock()
	change := func(kind string, services []int, apart time.Duration) {
		var took []time.Duration
		cpu, consulCPU, requests := ownCPU(t), cpuOf(t, c.Pid()), seats.requests.Load()
		for round, i := range services[:changes] {
			port := 100 + round
			start := time.Now()
			if _, err := c.Client.Catalog().Register(manyEntry(i, port), nil); err != nil {
				t.Fatal(err)
			}
			for ports[i].Load() != int64(port) {
				if time.Since(start) > time.Minute {
					t.Fatalf("a change of svc-%d was not seen", i)
				}
				time.Sleep(200 * time.Microsecond)
			}
			took = append(took, time.Since(start))
			time.Sleep(apart)
		}
		slices.Sort(took)
		n := time.Duration(len(took))
		t.Logf("%s services: a change is seen after %v in the median, %v at most; CPU for each change %v here, %v in Consul; %d requests", kind,
			took[len(took)/2].Round(100*time.Microsecond), took[len(took)-1].Round(100*time.Microsecond), (ownCPU(t)-cpu)/n, (cpuOf(t, c.Pid())-consulCPU)/n,
			(seats.requests.Load()-requests)/int64(n))
	}
	change("hot", hot, 1500*time.Millisecond)
	if limit == 0 {
		return
	}
	change("other", cold, 1500*time.Millisecond)

	start = time.Now()
	for _, i := range cold[20 : 20+100] {
		if _, err := c.Client.Catalog().Register(manyEntry(i, 999), nil); err != nil {
			t.Fatal(err)
		}
	}
	sent := time.Since(start)
	consultest.Eventually(t, time.Minute, func() error {
		for _, i := range cold[20 : 20+100] {
			if ports[i].Load() != 999 {
				return fmt.Errorf("svc-%d has not changed", i)
			}
		}
		return nil
	})
	t.Logf("100 other services changed within %v, all seen after %v", sent.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
}

func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf is the processor time of another process, in ticks of 10ms.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')'):])
	user, _ := strconv.Atoi(fields[12])
	system, _ := strconv.Atoi(fields[13])
	return time.Duration(user+system) * 10 * time.Millisecond
}
