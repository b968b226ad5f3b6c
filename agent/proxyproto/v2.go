package proxyproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

const (
	prefix2 = "\r\n\r\n\x00\r\nQUIT\n"
	fixed2  = len(prefix2) + 4

	sizeINET, sizeINET6, sizeUnix = 12, 36, 216
)

// parse2 parses a header of version 2. b starts with its prefix.
func parse2(b []byte) (*Header, int, error) {
	if len(b) < fixed2 {
		return nil, 0, ErrShort
	}
	command, family, transport := b[12], b[13]>>4, b[13]&15
	n := fixed2 + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case command>>4 != 2:
		return nil, 0, fmt.Errorf("PROXY header: unknown version %d", command>>4)
	case command&15 > 1:
		return nil, 0, fmt.Errorf("PROXY header: unknown command %d", command&15)
	case family > 3 || transport > 2:
		return nil, 0, fmt.Errorf("PROXY header: unknown family and transport %#02x", b[13])
	case n > MaxSize:
		return nil, 0, fmt.Errorf("PROXY header: it has %d bytes, more than %d", n, MaxSize)
	case len(b) < n:
		return nil, 0, ErrShort
	}
	h := &Header{Version: 2, Local: command&15 == 0}
	if h.Local { // the rest is to be ignored
		return h, n, nil
	}
	body := b[fixed2:n]
	size := [...]int{0, sizeINET, sizeINET6, sizeUnix}[family]
	if len(body) < size {
		return nil, 0, errors.New("PROXY header: its addresses are cut off")
	}
	if transport == 1 && size > 0 && family != 3 {
		half := (size - 4) / 2
		source, _ := netip.AddrFromSlice(body[:half])
		destination, _ := netip.AddrFromSlice(body[half : 2*half])
		h.Source = netip.AddrPortFrom(source, binary.BigEndian.Uint16(body[2*half:]))
		h.Destination = netip.AddrPortFrom(destination, binary.BigEndian.Uint16(body[2*half+2:]))
	}
	var err error
	if h.TLVs, err = parseTLVs(body[size:]); err == nil {
		err = checksum(b[:n], fixed2+size)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("PROXY header: %w", err)
	}
	return h, n, nil
}

// missing2 is how many bytes there are at least still to come.
func missing2(b []byte) int {
	if len(b) < fixed2 {
		return fixed2 - len(b)
	}
	return fixed2 + int(binary.BigEndian.Uint16(b[14:])) - len(b)
}

func (h *Header) append2(b []byte) ([]byte, error) {
	start := len(b)
	b = append(b, prefix2...)
	switch s, d, is4 := h.addresses(); {
	case h.Local:
		return append(b, 0x20, 0, 0, 0), nil
	case !h.Source.IsValid() || !h.Destination.IsValid():
		b = append(b, 0x21, 0, 0, 0)
	default:
		family := byte(0x21)
		if is4 {
			family = 0x11
		}
		b = append(b, 0x21, family, 0, 0)
		b = append(b, s.Addr().AsSlice()...)
		b = append(b, d.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, s.Port())
		b = binary.BigEndian.AppendUint16(b, d.Port())
	}
	for _, t := range h.TLVs {
		if len(t.Value) > MaxSize {
			return nil, fmt.Errorf("a TLV of %d bytes is too large for a PROXY header", len(t.Value))
		}
		b = appendTLV(b, t)
	}
	n := len(b) - start
	if n > MaxSize {
		return nil, fmt.Errorf("a PROXY header of %d bytes is too large", n)
	}
	binary.BigEndian.PutUint16(b[start+14:], uint16(n-fixed2))
	return b, nil
}

// addresses are both in one family: IPv4, if both can be written so.
func (h *Header) addresses() (source, destination netip.AddrPort, is4 bool) {
	s, d := h.Source.Addr().WithZone(""), h.Destination.Addr().WithZone("")
	switch {
	case !s.IsValid() || !d.IsValid():
	case s.Unmap().Is4() && d.Unmap().Is4() && (s.Is4() || d.Is4()):
		s, d, is4 = s.Unmap(), d.Unmap(), true
	default:
		s, d = netip.AddrFrom16(s.As16()), netip.AddrFrom16(d.As16())
	}
	return netip.AddrPortFrom(s, h.Source.Port()), netip.AddrPortFrom(d, h.Destination.Port()), is4
}
