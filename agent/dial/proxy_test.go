package dial

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy/namer"
)

func between(client, local string) (i Info) {
	if client != "" {
		i.Client = netip.MustParseAddrPort(client)
	}
	if local != "" {
		i.Local = netip.MustParseAddrPort(local)
	}
	return i
}

func TestPrefaceV1(t *testing.T) {
	for _, test := range []struct{ client, local, want string }{
		{"192.0.2.1:1000", "192.0.2.2:443", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n"},
		{"[::ffff:192.0.2.1]:1000", "192.0.2.2:443", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n"},
		{"[2001:db8::1]:1000", "[2001:db8::2]:443", "PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n"},
		{"[fe80::1%eth0]:1000", "[fe80::2%eth0]:443", "PROXY TCP6 fe80::1 fe80::2 1000 443\r\n"},
		{"[2001:db8::1]:1000", "192.0.2.2:443", "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1000 443\r\n"},
		{"192.0.2.1:65535", "", "PROXY UNKNOWN\r\n"},
		{"", "", "PROXY UNKNOWN\r\n"},
	} {
		got := (&Policy{ProxyProtocol: ProxyV1}).Preface(between(test.client, test.local))
		if string(got) != test.want || len(got) > 107 {
			t.Errorf("%s to %s: %q, want %q", test.client, test.local, got, test.want)
		}
	}
	if b := Default().Preface(between("192.0.2.1:1", "192.0.2.2:2")); b != nil {
		t.Errorf("%q without a PROXY protocol", b)
	}
}

func TestPrefaceV2(t *testing.T) {
	all := between("192.0.2.1:258", "192.0.2.2:443")
	all.ServerName, all.ALPN, all.TLSVersion, all.Certificate, all.CommonName, all.SPIFFEID = "a.b", "h2", "TLSv1.3", true, "cn", "spiffe://x/y"
	anonymous := between("192.0.2.1:258", "192.0.2.2:443")
	anonymous.TLSVersion, anonymous.ServerName = "TLSv1.2", strings.Repeat("x", longestText+1)
	unix := Info{ServerName: "a.b"}
	const four = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x01\x02\x01\xbb"
	six := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x02\x01\x02\x01\xbb"
	for _, test := range []struct {
		name string
		info Info
		want string
	}{
		{"IPv4", between("192.0.2.1:258", "192.0.2.2:443"), "\x21\x11\x00\x0c" + four},
		{"both families", between("[2001:db8::1]:258", "192.0.2.2:443"), "\x21\x21\x00\x24" + six},
		{"Unix", unix, "\x20\x00\x00\x00"},
		{"all", all, "\x21\x11\x00\x3d" + four + "\x02\x00\x03a.b" + "\x01\x00\x02h2" +
			"\x20\x00\x14\x03\x00\x00\x00\x00" + "\x21\x00\x07TLSv1.3" + "\x22\x00\x02cn" + "\xe0\x00\x0cspiffe://x/y"},
		{"no certificate, and too long a name", anonymous, "\x21\x11\x00\x1e" + four + "\x20\x00\x0f\x01\x00\x00\x00\x01" + "\x21\x00\x07TLSv1.2"},
	} {
		got := (&Policy{ProxyProtocol: ProxyV2}).Preface(test.info)
		if want := "\r\n\r\n\x00\r\nQUIT\n" + test.want; string(got) != want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, want)
		}
	}
}

// HAProxy understands the headers.
func TestPrefaceToHAProxy(t *testing.T) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		if program = "/usr/sbin/haproxy"; !exists(program) {
			t.Skip("haproxy is not installed")
		}
	}
	addr := refused(t)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	content := fmt.Sprintf(`defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 10s
frontend f
  bind %s accept-proxy
  http-request return status 200 content-type text/plain lf-string "%%[src]:%%[src_port] %%[dst]:%%[dst_port] %%[fc_pp_authority]."
`, addr)
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-db", "-f", config)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	ask := func(version string, i Info) string {
		t.Helper()
		p := &Policy{ProxyProtocol: version, Timeout: 10 * time.Second}
		c, err := p.Dial(context.Background(), Request{Info: i}, namer.Endpoint{Addr: addr})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		b, _ := io.ReadAll(c)
		_, body, _ := strings.Cut(string(b), "\r\n\r\n")
		return body
	}
	named := func(i Info) Info {
		i.ServerName, i.ALPN, i.TLSVersion, i.Certificate, i.CommonName, i.SPIFFEID = "db.example", "h2", "TLSv1.3", true, "cn", "spiffe://x/y"
		return i
	}
	for _, client := range []struct{ from, to, says string }{
		{"192.0.2.1:1000", "192.0.2.2:443", "192.0.2.1:1000 192.0.2.2:443 "},
		{"[2001:db8::1]:1000", "[2001:db8::2]:443", "2001:db8::1:1000 2001:db8::2:443 "},
	} {
		i := named(between(client.from, client.to))
		if got := ask(ProxyV1, i); got != client.says+"." && got != client.says+"-." {
			t.Errorf("v1: %q, want %q", got, client.says)
		}
		if got := ask(ProxyV2, i); got != client.says+"db.example." {
			t.Errorf("v2: %q, want %q", got, client.says+"db.example.")
		}
	}
	for _, version := range []string{ProxyV1, ProxyV2} { // then the real addresses count
		if got := ask(version, Info{}); !strings.HasPrefix(got, "127.0.0.1:") {
			t.Errorf("%s without addresses: %q", version, got)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
