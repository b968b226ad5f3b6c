package dial

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The versions of the PROXY protocol (https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt).
const (
	ProxyV1 = "v1"
	ProxyV2 = "v2"
)

// Types of what version 2 may add, and the bits of the client's part of typeTLS (section 2.2 there). Types from 0xE0 to
// 0xEF are for applications: in typeSPIFFE is the verified SPIFFE id of the client, as text.
const (
	typeALPN       = 0x01
	typeAuthority  = 0x02
	typeTLS        = 0x20
	typeTLSVersion = 0x21
	typeCommonName = 0x22
	typeSPIFFE     = 0xE0

	clientTLS         = 0x01
	clientCertificate = 0x02 | 0x04 // shown on this connection, and in this session
)

// proxySignature begins a header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// Info is what is known of a client.
type Info struct {
	Client, Local netip.AddrPort // its address, and the one it has connected to; zero for Unix sockets
	ServerName    string         // that it has asked for; "": none
	ALPN          string         // the protocol agreed on with it, or the only one that it offers; "": none
	TLSVersion    string         // such as "TLSv1.3", where TLS is terminated; "": it is not
	Certificate   bool           // it has shown one, which was verified
	CommonName    string         // in that; "": none
	SPIFFEID      string         // in that; "": none
}

// Preface is what an endpoint gets before anything else: a PROXY header, or nothing. It does not block.
func (p *Policy) Preface(i Info) []byte {
	switch p.ProxyProtocol {
	case ProxyV1:
		return prefaceV1(i)
	case ProxyV2:
		return prefaceV2(i)
	}
	return nil
}

// family brings both addresses into one family: an IPv4 address beside an IPv6 one is written as ::ffff:a.b.c.d. Without
// both there is none.
func (i Info) family() (from, to netip.AddrPort, size int) {
	a, b := i.Client.Addr().Unmap().WithZone(""), i.Local.Addr().Unmap().WithZone("")
	switch {
	case !a.IsValid() || !b.IsValid():
		return from, to, 0
	case a.Is4() && b.Is4():
		size = 4
	default:
		a, b, size = netip.AddrFrom16(a.As16()), netip.AddrFrom16(b.As16()), 16
	}
	return netip.AddrPortFrom(a, i.Client.Port()), netip.AddrPortFrom(b, i.Local.Port()), size
}

func prefaceV1(i Info) []byte {
	from, to, size := i.family()
	if size == 0 {
		return []byte("PROXY UNKNOWN\r\n")
	}
	family := "TCP4"
	if size == 16 {
		family = "TCP6"
	}
	return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, from.Addr(), to.Addr(), from.Port(), to.Port())
}

func prefaceV2(i Info) []byte {
	b := make([]byte, 0, 256)
	b = append(b, proxySignature...)
	from, to, size := i.family()
	const local, proxy, unspecified, overTCP4, overTCP6 = 0x20, 0x21, 0x00, 0x11, 0x21
	command, family := byte(proxy), byte(overTCP4)
	switch size {
	case 16:
		family = overTCP6
	case 0: // as HAProxy sends it; HAProxy refuses the command proxy without addresses
		command, family = local, unspecified
	}
	b = append(b, command, family, 0, 0) // the length is filled in at the end
	start := len(b)
	if size > 0 {
		b = append(b, from.Addr().AsSlice()...)
		b = append(b, to.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, from.Port())
		b = binary.BigEndian.AppendUint16(b, to.Port())
	}
	b = appendText(b, typeAuthority, i.ServerName)
	b = appendText(b, typeALPN, i.ALPN)
	if i.TLSVersion != "" {
		b = appendTLS(b, i)
	}
	b = appendText(b, typeSPIFFE, i.SPIFFEID)
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b
}

// appendTLS adds what HAProxy's send-proxy-v2-ssl-cn adds.
func appendTLS(b []byte, i Info) []byte {
	at := len(b)
	client, verify := byte(clientTLS), uint32(1) // not 0: no certificate was verified
	if i.Certificate {
		client, verify = clientTLS|clientCertificate, 0
	}
	b = append(b, typeTLS, 0, 0, client)
	b = binary.BigEndian.AppendUint32(b, verify)
	b = appendText(b, typeTLSVersion, i.TLSVersion)
	b = appendText(b, typeCommonName, i.CommonName)
	binary.BigEndian.PutUint16(b[at+1:], uint16(len(b)-at-3))
	return b
}

// longestText bounds what a client can make a header of: a name in a certificate may be very long.
const longestText = 2048

func appendText(b []byte, kind byte, text string) []byte {
	if text == "" || len(text) > longestText {
		return b
	}
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}
