package dial

import (
	"net/netip"

	"argosy/agent/proxyproto"
)

// The versions of the PROXY protocol.
const (
	ProxyV1 = "v1"
	ProxyV2 = "v2"
)

// typeSPIFFE is the type of version 2's value that has the client's verified SPIFFE id, as text. It is the first of those
// that the protocol leaves to applications.
const typeSPIFFE = 0xE0

// longestText bounds what a client can make of a header: a name in a certificate may be very long. What is longer is left
// out.
const longestText = 512

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
	if p.ProxyProtocol == "" {
		return nil
	}
	h := proxyproto.Header{Version: 1, Source: i.Client, Destination: i.Local}
	if p.ProxyProtocol == ProxyV2 {
		h.Version = 2
		// Not one without addresses in the client's name, as HAProxy does not take that.
		h.Local = !i.Client.IsValid() || !i.Local.IsValid()
		h.TLVs = i.values()
	}
	b, err := h.Append(make([]byte, 0, 256))
	if err != nil { // cannot be: the values are short
		return nil
	}
	return b
}

// values are those of version 2: what HAProxy's send-proxy-v2 with all its options tells, and the SPIFFE id.
func (i Info) values() (all []proxyproto.TLV) {
	all = appendText(all, proxyproto.TypeAuthority, i.ServerName)
	all = appendText(all, proxyproto.TypeALPN, i.ALPN)
	if i.TLSVersion != "" {
		s := proxyproto.SSL{TLS: true, Certificate: i.Certificate, Verified: i.Certificate}
		s.TLVs = appendText(s.TLVs, proxyproto.TypeSSLVersion, i.TLSVersion)
		s.TLVs = appendText(s.TLVs, proxyproto.TypeSSLCN, i.CommonName)
		all = append(all, s.TLV())
	}
	return appendText(all, typeSPIFFE, i.SPIFFEID)
}

func appendText(all []proxyproto.TLV, kind byte, text string) []proxyproto.TLV {
	if text == "" || len(text) > longestText {
		return all
	}
	return append(all, proxyproto.TLV{Type: kind, Value: []byte(text)})
}
