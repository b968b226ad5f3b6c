//go:build linux

package proxies

import (
	"context"
	"crypto/tls"
	"encoding/csv"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"argosy/bench/load"
)

// scenarios are all there are, in the order of the tables.
func scenarios() (list []scenario) {
	for _, t := range []topology{plain, inTLS, mTLS} {
		add := func(name, title string, s scenario) {
			s.name, s.topology = name+t.suffix(), t
			s.title = title
			if t != plain {
				s.title += ", " + t.String()
			}
			// Without a proxy there is no TLS; what a proxy adds to the latency is seen against plain TCP all the same.
			s.direct = s.direct && (t == plain || name == "latency")
			list = append(list, s)
		}
		add("requests", "small requests on 50 connections", scenario{backend: redis, direct: true, measure: requests(1)})
		add("pipelined", "the same, 16 at a time", scenario{backend: redis, direct: true, measure: requests(16)})
		if t == plain {
			add("connections", "a new connection for each request", scenario{direct: true, measure: connections})
		} else {
			add("handshakes", "a new connection for each request", scenario{measure: handshakes()})
			if t == inTLS {
				add("x25519", "the same, by clients that know no other key exchange than X25519", scenario{measure: handshakes(tls.X25519)})
			}
		}
		add("bulk", "1 and 8 streams of bytes to the client", scenario{backend: sources, direct: true, measure: bulk})
		add("latency", "latency at 2,000 requests a second on 50 connections", scenario{direct: true, measure: latency})
		add("idle", "connections that do nothing", scenario{fresh: true, measure: idle})
	}
	return append(list,
		scenario{name: "churn", title: "connections that come and go, ten times over", fresh: true, measure: churn},
		scenario{name: "process", title: "a process without connections", fresh: true, measure: process})
}

// clients is how many connections carry requests.
const clients = 50

// requests has Redis's own benchmark ask for small values, and looks at what the proxy spends on each.
func requests(depth int) func(context.Context, *lab, *target) (sample, error) {
	return func(ctx context.Context, l *lab, g *target) (sample, error) {
		if realRedis() != nil {
			if g.tls {
				return nil, realRedis()
			}
			return spent(g, "request", func() (load.Result, error) {
				r := load.Exchanges{Addr: g.addr, Connections: clients, Size: 40, Depth: depth, Duration: l.settings.Slice}.Run(ctx)
				return r, r.Err
			})
		}
		// A few to warm up, which also tell how many fill the time.
		began := time.Now()
		first, err := redisBenchmark(ctx, g, depth, 4000*depth)
		if err != nil {
			return nil, err
		}
		rate := min(first.Rate(), float64(4000*depth)/time.Since(began).Seconds())
		n := max(int(rate*l.settings.Slice.Seconds()), 4000)
		return spent(g, "request", func() (load.Result, error) { return redisBenchmark(ctx, g, depth, n) })
	}
}

// redisBenchmark runs n GETs.
func redisBenchmark(ctx context.Context, g *target, depth, n int) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	host, port, _ := strings.Cut(g.addr, ":")
	args := []string{"-h", host, "-p", port, "-t", "get", "-c", strconv.Itoa(clients), "-P", strconv.Itoa(depth), "-n", strconv.Itoa(n), "--csv"}
	if g.tls {
		args = append(args, "--tls", "--insecure", "--sni", serverName)
	}
	var errors strings.Builder
	cmd := exec.CommandContext(ctx, "redis-benchmark", args...)
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		return load.Result{}, fmt.Errorf("redis-benchmark: %w: %s", err, lastLines(errors.String(), 3))
	}
	rate, err := parseRedisBenchmark(string(out))
	if err != nil {
		return load.Result{}, fmt.Errorf("redis-benchmark: %w: %s", err, lastLines(errors.String(), 3))
	}
	return load.Result{Count: int64(n), Elapsed: time.Duration(float64(n) / rate * float64(time.Second))}, nil
}

// parseRedisBenchmark finds the requests per second of GET.
func parseRedisBenchmark(text string) (float64, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		return 0, fmt.Errorf("read what it prints: %w", err)
	}
	for _, row := range rows {
		if len(row) > 1 && row[0] == "GET" {
			rate, err := strconv.ParseFloat(row[1], 64)
			if err != nil || rate <= 0 {
				return 0, fmt.Errorf("read what it prints: %q is no rate", row[1])
			}
			return rate, nil
		}
	}
	return 0, fmt.Errorf("it printed no figure for GET")
}

// spent runs a load, and takes its rate and the CPU of the proxy for each unit of it.
func spent(g *target, unit string, run func() (load.Result, error)) (sample, error) {
	before, err := g.cpu()
	if err != nil {
		return nil, err
	}
	r, err := run()
	if err != nil {
		return nil, err
	}
	after, err := g.cpu()
	if err != nil {
		return nil, err
	}
	if r.Count == 0 {
		return nil, fmt.Errorf("no %s succeeded", unit)
	}
	s := sample{{unit + "s", "per s", r.Rate()}}
	if len(g.procs) > 0 {
		s = append(s, value{"CPU per " + unit, "µs", float64(after-before) / float64(time.Microsecond) / float64(r.Count)})
	}
	return s, nil
}

// connections opens, uses and closes connections from one thread, 50 at a time.
func connections(ctx context.Context, l *lab, g *target) (sample, error) {
	x := load.Exchanges{Addr: g.addr, Connections: clients, Size: 100, Reconnect: true, Count: 500}
	x.Run(ctx) // to warm up
	x.Count, x.Duration = 0, l.settings.Slice
	return spent(g, "connection", func() (load.Result, error) {
		r := x.Run(ctx)
		if r.Errors > r.Count/100 {
			return r, r.Err
		}
		return r, nil
	})
}

// handshakes opens connections that have a TLS handshake on their way. Where the client speaks TLS itself, it does so
// without and with the session of an earlier one. groups are the key exchanges it offers, Go's own choice if none.
func handshakes(groups ...tls.CurveID) func(context.Context, *lab, *target) (sample, error) {
	return func(ctx context.Context, l *lab, g *target) (all sample, err error) {
		for _, resume := range []bool{false, true} {
			if resume && !g.tls {
				break
			}
			dial := g.dial(resume, groups...)
			load.Dials(ctx, dial, 1, 50*time.Millisecond)
			unit := "handshake"
			if resume {
				unit = "resumed handshake"
			}
			s, err := spent(g, unit, func() (load.Result, error) {
				r := load.Dials(ctx, dial, 16, l.settings.Slice)
				if r.Errors > r.Count/100 {
					return r, r.Err
				}
				return r, nil
			})
			if err != nil {
				return nil, err
			}
			all = append(all, s...)
		}
		return all, nil
	}
}
