// Package proxyproto reads and writes the header by which a proxy tells whose connection it passes on: the PROXY
// protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt has it.
//
//	h, rest, err := proxyproto.Read(conn)   // ErrNone: there is no header; rest has what was read instead
//	b, err := h.Append(nil)                 // what to send before the client's bytes
//
// Parse is a pure function of bytes. Read takes no byte beyond the header from the connection.
package proxyproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
)

// MaxSize is the size in bytes of the largest header that is read or written. The format allows 64 KiB.
const MaxSize = 4096

// Header is what a proxy tells.
type Header struct {
	Version int // 1 or 2
	// Local is set where the proxy speaks for itself, such as by a health check (version 2, LOCAL).
	Local bool
	// Source is the client's address and Destination the one that it connected to. Both are zero where the proxy does
	// not tell them (UNKNOWN, UNSPEC), or they are not of TCP.
	Source, Destination netip.AddrPort
	// TLVs are what version 2 tells beside, in their order; checksum and padding are left out.
	TLVs []TLV
}

// TLV is one of version 2's further values.
type TLV struct {
	Type  byte
	Value []byte
}

// Types of TLVs. Those from 0xE0 to 0xEF are for users' own.
const (
	TypeALPN      = 0x01 // the protocol agreed on
	TypeAuthority = 0x02 // the server name that the client has sent
	typeCRC32C    = 0x03
	typeNoop      = 0x04
	TypeUniqueID  = 0x05
	TypeSSL       = 0x20 // see SSL
	TypeNetNS     = 0x30
)

// Types inside TypeSSL.
const (
	TypeSSLVersion = 0x21 // of TLS, as text
	TypeSSLCN      = 0x22 // the client certificate's common name
)

// Errors of Parse.
var (
	// ErrNone means that the bytes do not start with a header, and will not whatever comes.
	ErrNone = errors.New("no PROXY header")
	// ErrShort means that there may be a header when more bytes have come.
	ErrShort = errors.New("the PROXY header is not complete")
)

// Value returns the first value of a type.
func (h *Header) Value(kind byte) ([]byte, bool) {
	for _, t := range h.TLVs {
		if t.Type == kind {
			return t.Value, true
		}
	}
	return nil, false
}

// Authority is the server name that the client has sent to the proxy; "" if the proxy does not tell.
func (h *Header) Authority() string { return h.text(TypeAuthority) }

// ALPN is the protocol that client and proxy have agreed on; "" if the proxy does not tell.
func (h *Header) ALPN() string { return h.text(TypeALPN) }

func (h *Header) text(kind byte) string {
	v, _ := h.Value(kind)
	return string(v)
}

// SSL is what the proxy tells of the client's TLS.
type SSL struct {
	TLS         bool // the client used it
	Certificate bool // and showed a certificate, now or when the session began
	Verified    bool // which the proxy found good
	TLVs        []TLV
}

// SSL returns what the proxy tells of the client's TLS; nil if nothing.
func (h *Header) SSL() *SSL {
	v, ok := h.Value(TypeSSL)
	if !ok {
		return nil
	}
	tlvs, err := parseTLVs(v[5:]) // Parse has checked it
	if err != nil {
		return nil
	}
	return &SSL{
		TLS: v[0]&1 != 0, Certificate: v[0]&6 != 0, Verified: v[0]&6 != 0 && binary.BigEndian.Uint32(v[1:]) == 0, TLVs: tlvs,
	}
}

// TLV makes a TLV of it. verified must be told truly: a proxy that has not asked for a certificate has verified none.
func (s *SSL) TLV() TLV {
	v := make([]byte, 5)
	if s.TLS {
		v[0] |= 1
	}
	if s.Certificate {
		v[0] |= 2
	}
	if !s.Verified {
		v[4] = 1
	}
	for _, t := range s.TLVs {
		v = appendTLV(v, t)
	}
	return TLV{TypeSSL, v}
}

func parseTLVs(b []byte) ([]TLV, error) {
	var all []TLV
	for len(b) > 0 {
		if len(b) < 3 {
			return nil, errors.New("a TLV is cut off")
		}
		n := int(binary.BigEndian.Uint16(b[1:]))
		if len(b) < 3+n {
			return nil, errors.New("a TLV is cut off")
		}
		t := TLV{b[0], b[3 : 3+n : 3+n]}
		b = b[3+n:]
		if t.Type == TypeSSL && n < 5 {
			return nil, errors.New("the TLV about SSL is too short")
		}
		if t.Type != typeNoop && t.Type != typeCRC32C {
			all = append(all, t)
		}
	}
	return all, nil
}

// checksum compares the checksum over the whole header, if there is one (proxy-protocol.txt, 2.2.3).
func checksum(header []byte, tlvs int) error {
	for at := tlvs; at+3 <= len(header); {
		n := int(binary.BigEndian.Uint16(header[at+1:]))
		value := header[at+3 : min(at+3+n, len(header))]
		if header[at] == typeCRC32C {
			if n != 4 {
				return errors.New("its checksum has not 4 bytes")
			}
			table := crc32.MakeTable(crc32.Castagnoli)
			sum := crc32.Update(0, table, header[:at+3])
			sum = crc32.Update(sum, table, make([]byte, 4))
			sum = crc32.Update(sum, table, header[at+7:])
			if got := binary.BigEndian.Uint32(value); got != sum {
				return fmt.Errorf("its checksum is %08x instead of %08x", got, sum)
			}
		}
		at += 3 + n
	}
	return nil
}

func appendTLV(b []byte, t TLV) []byte {
	b = append(b, t.Type)
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Value)))
	return append(b, t.Value...)
}
