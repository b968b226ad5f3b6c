// Package inet reads and resolves the hosts that names end in: addresses in all the spellings that Java takes for one,
// and DNS names, which are asked for again and again.
//
//	inet.Resolver{}.Watch(ctx, "redis.internal", func(a inet.Answer) { fmt.Println(a.Addrs, a.Err) })
//
// It knows nothing of namers, which use it for /$/inet and for the hosts in their files and settings.
package inet

import (
	"net/netip"
	"strconv"
	"strings"
)

// ParseHost reads a host that needs no DNS: an IPv4 or IPv6 address, one of the short IPv4 forms that Java reads
// ("127.1" is 127.0.0.1, "10.1.5" is 10.1.0.5, "1234" is 0.0.4.210), or "localhost" and "", which are 127.0.0.1.
func ParseHost(host string) (netip.Addr, bool) {
	if host == "" || strings.EqualFold(host, "localhost") {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap(), true
	}
	return shortIPv4(host)
}

// shortIPv4 reads up to four decimal numbers, of which the last fills all the bytes that are left.
func shortIPv4(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if len(part) > 1 && part[0] == '0' || strings.HasPrefix(part, "+") {
			return netip.Addr{}, false // some read a leading zero as octal: better not at all
		}
		n, err := strconv.ParseUint(part, 10, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// ParsePort reads a port number, 1 to 65535, in plain decimal digits.
func ParsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0 && s[0] != '+'
}
