package namer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"argosy/namer/inet"
)

// Resolver resolves the hosts of targets.
type Resolver = inet.Resolver

// Target is an endpoint as people write it: its host may be a name that stands for several addresses.
type Target struct {
	Host   string // or the path of a unix socket, which starts with a slash and has no port
	Port   uint16
	Weight float64
}

// ParseTarget reads "host port", "host:port", "[ipv6]:port" or the path of a unix socket, each with "* weight" after it
// or not.
func ParseTarget(text string) (Target, error) {
	place, weight, weighted := strings.Cut(text, "*")
	t := Target{Weight: 1}
	if weighted {
		w, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
		if err != nil || w < 0 || math.IsInf(w, 0) || math.IsNaN(w) {
			return Target{}, fmt.Errorf("malformed address: %s: the weight must be a number that is not negative", text)
		}
		t.Weight = w
	}
	var port string
	switch fields := strings.Fields(place); {
	case len(fields) == 2:
		t.Host, port = unbracket(fields[0]), fields[1]
	case len(fields) != 1:
		return Target{}, fmt.Errorf("malformed address: %s: want host and port", text)
	case strings.HasPrefix(fields[0], "/") && !strings.ContainsFunc(fields[0], unicode.IsControl):
		t.Host = fields[0]
		return t, nil
	default:
		var err error
		if t.Host, port, err = net.SplitHostPort(fields[0]); err != nil {
			return Target{}, fmt.Errorf("malformed address: %s: want host and port", text)
		}
	}
	if strings.ContainsFunc(t.Host, notInHost) {
		return Target{}, fmt.Errorf("malformed address: %s: %q is not a host", text, t.Host)
	}
	var ok bool
	if t.Port, ok = inet.ParsePort(port); !ok {
		return Target{}, fmt.Errorf("malformed address: %s: %q is not a port", text, port)
	}
	return t, nil
}

func unbracket(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		return inner[:len(inner)-1]
	}
	return host
}

// notInHost is true for what neither addresses nor the names of hosts are made of.
func notInHost(r rune) bool {
	return r >= 0x80 || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:%", r)
}

// String writes the target so that ParseTarget reads it back.
func (t Target) String() string {
	place := t.Host
	if !strings.HasPrefix(t.Host, "/") {
		place = net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
	}
	if t.Weight == 1 {
		return place
	}
	return place + " * " + strconv.FormatFloat(t.Weight, 'g', -1, 64)
}

// Fixed returns the target's endpoint if it needs no DNS.
func (t Target) Fixed() (Endpoint, bool) {
	if strings.HasPrefix(t.Host, "/") {
		return Endpoint{Addr: t.Host, Weight: t.Weight}, true
	}
	addr, ok := inet.ParseHost(t.Host)
	return t.at(addr), ok
}

func (t Target) at(addr netip.Addr) Endpoint {
	return Endpoint{Addr: netip.AddrPortFrom(addr, t.Port).String(), Weight: t.Weight}
}

// FixedTargets returns the address of targets none of which needs DNS. Not ok: one does, so they must be watched.
func FixedTargets(targets []Target) (Addr, bool) {
	endpoints := make([]Endpoint, 0, len(targets))
	for _, t := range targets {
		e, ok := t.Fixed()
		if !ok {
			return Addr{}, false
		}
		endpoints = append(endpoints, e)
	}
	return Addr{Status: OK, Endpoints: SortEndpoints(endpoints)}, true
}

// SortEndpoints puts endpoints into the order that Addr wants, in place, and drops all but the heaviest of those with
// the same Addr.
func SortEndpoints(endpoints []Endpoint) []Endpoint {
	slices.SortStableFunc(endpoints, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(b.Weight, a.Weight))
	})
	return slices.CompactFunc(endpoints, func(a, b Endpoint) bool { return a.Addr == b.Addr })
}

// WatchTargets publishes the endpoints that the targets stand for, now and whenever DNS answers otherwise, until ctx
// ends. Hosts that do not resolve are left out while another does; if none does, the address is Neg where DNS knows
// none of them, Failed where it could not be asked, and Pending until it has been.
func WatchTargets(ctx context.Context, resolver Resolver, targets []Target, publish func(Addr)) {
	if addr, ok := FixedTargets(targets); ok {
		if ctx.Err() == nil {
			publish(addr)
		}
		<-ctx.Done()
		return
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		hosts = make(map[string]*inet.Answer)
	)
	defer wg.Wait()
	for _, t := range targets {
		if _, fixed := t.Fixed(); !fixed {
			hosts[t.Host] = nil
		}
	}
	// No goroutine may write before all have been told from the map's keys.
	names := make([]string, 0, len(hosts))
	for host := range hosts {
		names = append(names, host)
	}
	for _, host := range names {
		wg.Go(func() {
			resolver.Watch(ctx, host, func(a inet.Answer) {
				mu.Lock()
				defer mu.Unlock()
				hosts[host] = &a
				if ctx.Err() == nil {
					publish(resolved(targets, hosts))
				}
			})
		})
	}
}

// resolved puts the targets' endpoints together from what is known of their hosts.
func resolved(targets []Target, hosts map[string]*inet.Answer) Addr {
	var (
		endpoints []Endpoint
		errs      []error
		unknown   bool
	)
	for _, t := range targets {
		if e, ok := t.Fixed(); ok {
			endpoints = append(endpoints, e)
			continue
		}
		a := hosts[t.Host]
		if a == nil {
			unknown = true
			continue
		}
		if a.Err != nil {
			errs = append(errs, fmt.Errorf("resolve %s: %w", t.Host, a.Err))
		}
		for _, addr := range a.Addrs {
			endpoints = append(endpoints, t.at(addr))
		}
	}
	switch {
	case len(endpoints) > 0:
		return Addr{Status: OK, Endpoints: SortEndpoints(endpoints), Stale: len(errs) > 0}
	case unknown:
		return Addr{Status: Pending}
	case len(errs) > 0:
		return Addr{Status: Failed, Err: errors.Join(errs...)}
	}
	return Addr{Status: Neg}
}
