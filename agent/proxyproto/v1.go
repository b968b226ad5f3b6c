package proxyproto

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	prefix1 = "PROXY "
	// maxSize1 is the longest line: "PROXY UNKNOWN" with two full IPv6 addresses and ports.
	maxSize1 = 107
	// minSize1 is the shortest, and minTCP1 the shortest with addresses.
	minSize1 = len("PROXY UNKNOWN\r\n")
	minTCP1  = len("PROXY TCP6 :: :: 0 0\r\n")
)

// parse1 parses a header of version 1. b starts with its prefix.
func parse1(b []byte) (*Header, int, error) {
	end := bytes.IndexByte(b[:min(len(b), maxSize1)], '\n')
	switch {
	case end < 0 && len(b) < maxSize1:
		return nil, 0, ErrShort
	case end < 0:
		return nil, 0, fmt.Errorf("PROXY header: its line has more than %d bytes", maxSize1)
	case b[end-1] != '\r':
		return nil, 0, errors.New("PROXY header: its line does not end with CR LF")
	}
	h := &Header{Version: 1}
	line := string(b[len(prefix1) : end-1])
	if line == "UNKNOWN" || strings.HasPrefix(line, "UNKNOWN ") { // whatever follows is to be ignored
		return h, end + 1, nil
	}
	f := strings.Split(line, " ")
	if len(f) != 5 || f[0] != "TCP4" && f[0] != "TCP6" {
		return nil, 0, errors.New("PROXY header: not of the form PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000")
	}
	var err error
	if h.Source, err = addrPort(f[0], f[1], f[3]); err == nil {
		h.Destination, err = addrPort(f[0], f[2], f[4])
	}
	if err != nil {
		return nil, 0, fmt.Errorf("PROXY header: %w", err)
	}
	return h, end + 1, nil
}

func addrPort(family, addr, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || a.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("no address of %s", family)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(p, 10) != port {
		return netip.AddrPort{}, errors.New("no port")
	}
	return netip.AddrPortFrom(a, uint16(p)), nil
}

// missing1 is how many bytes there are at least still to come.
func missing1(b []byte) int {
	least := minSize1
	if len(b) > len(prefix1) && b[len(prefix1)] == 'T' {
		least = minTCP1
	}
	switch {
	case len(b) < least:
		return least - len(b)
	case b[len(b)-1] == '\r':
		return 1
	}
	return 2
}

func (h *Header) append1(b []byte) []byte {
	if h.Local || !h.Source.IsValid() || !h.Destination.IsValid() {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	s, d, is4 := h.addresses()
	family := "TCP6"
	if is4 {
		family = "TCP4"
	}
	return fmt.Appendf(b, "%s%s %s %s %d %d\r\n", prefix1, family, s.Addr(), d.Addr(), s.Port(), d.Port())
}
