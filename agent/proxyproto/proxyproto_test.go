package proxyproto

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

var (
	src4, dst4 = netip.MustParseAddrPort("192.0.2.1:56324"), netip.MustParseAddrPort("192.0.2.2:443")
	src6, dst6 = netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:65535")
)

func v2(kind, family string, body string) []byte {
	return []byte(prefix2 + kind + family + string([]byte{byte(len(body) >> 8), byte(len(body))}) + body)
}

const inet = "\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"

// checked is a version 2 header with a checksum.
func checked() []byte {
	b := v2("\x21", "\x11", inet+"\x03\x00\x04\x00\x00\x00\x00\x02\x00\x01x")
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	copy(b[16+12+3:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return b
}

func TestParse(t *testing.T) {
	wrong := checked()
	wrong[20] ^= 1
	cases := []struct {
		name string
		in   []byte
		want *Header // nil: an error
		err  string
	}{
		{"v1 TCP4", []byte("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"), &Header{Version: 1, Source: src4, Destination: dst4}, ""},
		{"v1 TCP6", []byte("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"), &Header{Version: 1, Source: src6, Destination: dst6}, ""},
		{"v1 unknown", []byte("PROXY UNKNOWN\r\n"), &Header{Version: 1}, ""},
		{"v1 unknown, more", []byte("PROXY UNKNOWN ffff:f x 1\r\n"), &Header{Version: 1}, ""},
		{"v1 other family", []byte("PROXY TCP4 2001:db8::1 192.0.2.2 1 1\r\n"), nil, "no address of TCP4"},
		{"v1 port", []byte("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n"), nil, "no port"},
		{"v1 port with zero", []byte("PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n"), nil, "no port"},
		{"v1 words", []byte("PROXY TCP4 192.0.2.1\r\n"), nil, "not of the form"},
		{"v1 line feed", []byte("PROXY UNKNOWN\n..................."), nil, "CR LF"},
		{"v1 long", []byte("PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n"), nil, "more than 107"},
		{"v2 INET", v2("\x21", "\x11", inet), &Header{Version: 2, Source: src4, Destination: dst4}, ""},
		{"v2 UDP", v2("\x21", "\x12", inet), &Header{Version: 2}, ""},
		{"v2 local", v2("\x20", "\x11", "rubbish"), &Header{Version: 2, Local: true}, ""},
		{"v2 unspec", v2("\x21", "\x00", "\x02\x00\x01a\x04\x00\x00"), &Header{Version: 2, TLVs: []TLV{{2, []byte("a")}}}, ""},
		{"v2 unix", v2("\x21", "\x31", strings.Repeat("p", 216)), &Header{Version: 2}, ""},
		{"v2 checksum", checked(), &Header{Version: 2, Source: src4, Destination: dst4, TLVs: []TLV{{2, []byte("x")}}}, ""},
		{"v2 wrong checksum", wrong, nil, "checksum"},
		{"v2 cut address", v2("\x21", "\x11", inet[1:]), nil, "cut off"},
		{"v2 cut TLV", v2("\x21", "\x11", inet+"\x02\x00\x02a"), nil, "cut off"},
		{"v2 short SSL", v2("\x21", "\x00", "\x20\x00\x01\x01"), nil, "SSL is too short"},
		{"v2 version", v2("\x11", "\x11", inet), nil, "version 1"},
		{"v2 command", v2("\x22", "\x11", inet), nil, "command 2"},
		{"v2 family", v2("\x21", "\x41", inet), nil, "family"},
		{"v2 large", v2("\x21", "\x11", inet+strings.Repeat("x", 4096)), nil, "more than 4096"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tail := "what the client sends"
			for _, one := range []bool{false, true} {
				in := bytes.NewReader(append(bytes.Clone(c.in), tail...))
				var r io.Reader = in
				if one {
					r = iotest.OneByteReader(in)
				}
				h, _, err := Read(r)
				if c.want == nil {
					if err == nil || !strings.Contains(err.Error(), c.err) || errors.Is(err, ErrNone) {
						t.Errorf("got %+v, %v", h, err)
					}
					continue
				}
				rest, _ := io.ReadAll(in)
				if err != nil || !reflect.DeepEqual(h, c.want) || string(rest) != tail {
					t.Errorf("got %+v, %v, and %q is left", h, err, rest)
				}
			}
		})
	}
}

func TestReadNone(t *testing.T) {
	for _, s := range []string{"GET / HTTP/1.1\r\n", "\x16\x03\x01aaaaaaaaaaaaaaaaaaaa", "PROXX", "\r\n\r\nX"} {
		in := strings.NewReader(s)
		h, read, err := Read(in)
		rest, _ := io.ReadAll(in)
		if !errors.Is(err, ErrNone) || h != nil || string(read)+string(rest) != s {
			t.Errorf("%q: %v, read %q, left %q", s, err, read, rest)
		}
	}
	for _, s := range []string{"", "PRO", "PROXY TCP4 192.0.2.1", "\r\n\r\n"} {
		if _, read, err := Read(strings.NewReader(s)); errors.Is(err, ErrNone) || err == nil || string(read) != s {
			t.Errorf("%q: read %q, %v", s, read, err)
		}
	}
}

func TestAppend(t *testing.T) {
	ssl := &SSL{TLS: true, Certificate: true, Verified: true, TLVs: []TLV{{TypeSSLCN, []byte("web")}}}
	h := &Header{Version: 2, Source: src4, Destination: netip.MustParseAddrPort("[::ffff:192.0.2.2]:443"),
		TLVs: []TLV{{TypeAuthority, []byte("shop.test")}, {TypeALPN, []byte("h2")}, ssl.TLV()}}
	b, err := h.Append([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	got, n, err := Parse(b[6:])
	if err != nil || n != len(b)-6 || got.Source != src4 || got.Destination != dst4 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got.Authority() != "shop.test" || got.ALPN() != "h2" || !reflect.DeepEqual(got.SSL(), ssl) {
		t.Errorf("got %q, %q, %+v", got.Authority(), got.ALPN(), got.SSL())
	}
	if _, err := (&Header{Version: 2, TLVs: []TLV{{1, make([]byte, MaxSize)}}}).Append(nil); err == nil {
		t.Error("a header that nobody reads")
	}
}

// FuzzParse: what parses is printed so that it parses to the same; Read reads exactly what Parse takes.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", "PROXY TCP6 ::1 ::ffff:1.2.3.4 0 0\r\nx", "PROXY UNKNOWN\r\n", "PRO", "\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Add(checked())
	f.Add(v2("\x20", "\x00", ""))
	f.Add(v2("\x21", "\x00", "\x20\x00\x08\x07\x00\x00\x00\x00\x22\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		in := bytes.NewReader(b)
		viaRead, read, readErr := Read(in)
		if (err == nil) != (readErr == nil) || errors.Is(err, ErrNone) != errors.Is(readErr, ErrNone) {
			t.Fatalf("Parse: %v, Read: %v", err, readErr)
		}
		if err != nil {
			if !bytes.HasPrefix(b, read) {
				t.Fatalf("read %q of %q", read, b)
			}
			return
		}
		if left := in.Len(); left != len(b)-n || !reflect.DeepEqual(h, viaRead) {
			t.Fatalf("Parse takes %d of %d, Read leaves %d", n, len(b), left)
		}
		h.SSL()
		printed, err := h.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, m, err := Parse(printed)
		if err != nil || m != len(printed) || !reflect.DeepEqual(h, again) {
			t.Fatalf("%+v is printed as %q, which is %+v: %v", h, printed, again, err)
		}
	})
}
