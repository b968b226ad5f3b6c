package inet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Lookup asks DNS, or whatever else knows names, for the addresses of a host.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// How often a name is asked for.
const (
	Refresh = 30 * time.Second // after a good answer
	Retry   = 5 * time.Second  // after a failure
	Timeout = 10 * time.Second // of one question
)

// Answer is what is known of a host's addresses.
type Answer struct {
	Addrs []netip.Addr // sorted, each once; the last good ones if Err is set
	Err   error        // why the last question failed; nil for a host that is known not to exist
}

// Resolver resolves hosts. The zero value asks the system.
type Resolver struct{ Lookup Lookup }

// Watch publishes the host's addresses at once if they can be read from its name, else when DNS answers, and again when
// they change, until ctx ends. After a failure the last good addresses stay. A host that DNS does not know has no
// addresses; one that it knew before is asked for once more before that is believed.
func (r Resolver) Watch(ctx context.Context, host string, publish func(Answer)) {
	if addr, ok := ParseHost(host); ok {
		if ctx.Err() == nil {
			publish(Answer{Addrs: []netip.Addr{addr}})
		}
		<-ctx.Done()
		return
	}
	var last Answer
	misses := 0
	for {
		addrs, err := r.ask(ctx, host)
		if ctx.Err() != nil {
			return
		}
		wait := Refresh
		if err != nil {
			wait = Retry
		}
		switch {
		case err == nil:
			misses, last = 0, Answer{Addrs: addrs}
		case notFound(err):
			if misses++; misses > 1 || len(last.Addrs) == 0 {
				last = Answer{}
			} else {
				last.Err = err
			}
		default:
			last.Err = err
		}
		publish(last)
		if !sleep(ctx, wait) {
			return
		}
	}
}

func (r Resolver) ask(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	lookup := r.Lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	found, err := lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, len(found))
	for i, a := range found {
		addrs[i] = a.Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), nil
}

func notFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
