package door

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/devca"
	"argosy/internal/settings"
)

// endpoint has a page that changes something, and one that reveals something.
func endpoint() http.Handler {
	mux := http.NewServeMux()
	for _, pattern := range []string{"GET /health", "GET /metrics", "GET /v1/config", "POST /v1/drain", "DELETE /v1/connections", "PUT /v1/table"} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, "done\n")
		})
	}
	return mux
}

func serve(t *testing.T, cfg settings.Door) *Server {
	t.Helper()
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	peers, err := FilePeers(cfg.TLS, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(New(cfg, peers, Options{Realm: "test"}), l, endpoint(), hclog.NewNullLogger())
	s.Start()
	t.Cleanup(func() { s.Stop(time.Second) })
	return s
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func issue(t *testing.T, ca *devca.CA, name string) devca.Files {
	t.Helper()
	files, err := ca.Write(t.TempDir(), name, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func newCA(t *testing.T) *devca.CA {
	t.Helper()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// credential is what a caller shows.
type credential struct {
	token       string
	certificate *devca.Files
}

// client is one that trusts the CA of the server's files, and uses each connection once.
func client(t *testing.T, c credential, ca string) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil || !config.RootCAs.AppendCertsFromPEM(pem) {
			t.Fatal(err)
		}
	}
	if c.certificate != nil {
		pair, err := tls.LoadX509KeyPair(c.certificate.Cert, c.certificate.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil } // also of a CA that the server does not know
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

// status of a request; 0 if there was no answer.
func (c credential) status(t *testing.T, h *http.Client, method, url string) int {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := h.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// Everybody who comes with anything, at every kind of page, under all rules.
func TestWhoMay(t *testing.T) {
	t.Parallel()
	ours, others := newCA(t), newCA(t)
	server, ops, stranger := issue(t, ours, "argosy"), issue(t, ours, "ops"), issue(t, others, "ops")
	const token = "0123456789abcdef"
	tokens := []settings.DoorToken{{Name: "t", File: write(t, "tokens", "\n"+token+"\nanother-token-of-them\n"), Write: true}}
	mutual := func(required bool) *settings.DoorTLS {
		return &settings.DoorTLS{CertFile: server.Cert, KeyFile: server.Key, ClientCAFile: server.CA, Required: required}
	}
	plain := &settings.DoorTLS{CertFile: server.Cert, KeyFile: server.Key}
	credentials := []struct {
		name string
		credential
	}{
		{"nothing", credential{}}, {"wrong token", credential{token: token + "0"}}, {"token", credential{token: token}},
		{"second token", credential{token: "another-token-of-them"}}, {"foreign certificate", credential{certificate: &stranger}},
		{"certificate", credential{certificate: &ops}}, {"both", credential{token, &ops}}, {"certificate, wrong token", credential{"nope", &ops}},
	}
	open := []string{"/health", "/metrics"}
	for _, test := range []struct {
		name string
		cfg  settings.Door
		open string // statuses of open paths by credential, 200 where a digit is 2, 401 where it is 4, none where it is 0
		rest string
	}{
		{"nobody is asked", settings.Door{Open: open}, "22222222", "22222222"},
		{"tokens", settings.Door{Open: open, Tokens: tokens}, "22222222", "44224424"},
		{"tokens over TLS", settings.Door{Open: open, Tokens: tokens, TLS: plain}, "22222222", "44224424"},
		{"certificates", settings.Door{Open: open, TLS: mutual(false)}, "22220222", "44440222"},
		{"certificates required", settings.Door{Open: open, TLS: mutual(true)}, "00000222", "00000222"},
		{"either", settings.Door{Open: open, TLS: mutual(false), Tokens: tokens}, "22220222", "44220224"},
		{"both", settings.Door{Open: open, TLS: mutual(true), Tokens: tokens}, "00000222", "00000424"},
		{"closed", settings.Door{Open: open, Closed: true}, "22222222", "44444444"},
		{"nothing is open", settings.Door{Tokens: tokens}, "44224424", "44224424"},
	} {
		s := serve(t, test.cfg)
		base, ca := "http://"+s.Address(), ""
		if test.cfg.TLS != nil {
			base, ca = "https://"+s.Address(), server.CA
		}
		for i, c := range credentials {
			h := client(t, c.credential, ca)
			for _, page := range []struct{ method, path, want string }{
				{"GET", "/health", test.open}, {"HEAD", "/metrics", test.open}, {"GET", "/v1/config", test.rest},
				{"POST", "/v1/drain", test.rest}, {"DELETE", "/v1/connections", test.rest}, {"PUT", "/v1/table", test.rest},
				{"POST", "/health", test.rest}, {"GET", "/nothing", test.rest}, {"GET", "//health", test.rest}, {"GET", "/health/", test.rest},
				{"GET", "/%68ealth", test.open},
			} {
				want := map[byte]int{'2': 200, '4': 401, '0': 0}[page.want[i]]
				got := c.status(t, h, page.method, base+page.path)
				if missing := got == 404 || got == 405 || got == 301 || got == 307; want == 200 && missing {
					got = 200 // it was let in
				}
				if got != want {
					t.Errorf("%s, %s: %s %s: %d, want %d", test.name, c.name, page.method, page.path, got, want)
				}
			}
		}
	}
}

// What a page in a browser can make it send: to this machine under a name of the page's own, and across origins.
func TestWebPages(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef"
	free := serve(t, settings.Door{Open: []string{"/health"}, Hosts: []string{"argosy.example"}})
	asking := serve(t, settings.Door{Tokens: []settings.DoorToken{{Name: "t", Secret: settings.NewSecret(token), Write: true}}})
	for _, test := range []struct {
		to           *Server
		method, path string
		header       string
		want         int
	}{
		{free, "GET", "/v1/config", "Host: evil.example", 403}, {free, "GET", "/v1/config", "Host: evil.example:80", 403},
		{free, "POST", "/v1/drain", "Host: evil.example", 403}, {free, "GET", "/health", "Host: evil.example", 200},
		{free, "GET", "/v1/config", "Host: localhost.evil.example", 403}, {free, "GET", "/v1/config", "Host: 127.0.0.1.evil.example", 403},
		{free, "GET", "/v1/config", "Host: 127.0.0.1:9990", 200}, {free, "GET", "/v1/config", "Host: [::1]:9990", 200},
		{free, "GET", "/v1/config", "Host: [::1]", 200}, {free, "GET", "/v1/config", "Host: LocalHost.:1", 200},
		{free, "GET", "/v1/config", "Host: a.localhost", 200}, {free, "GET", "/v1/config", "Host: Argosy.Example:80", 200},
		{free, "GET", "/v1/config", "Host:", 200},
		{free, "POST", "/v1/drain", "Host: localhost\r\nOrigin: http://evil.example", 403},
		{free, "POST", "/v1/drain", "Host: localhost\r\nOrigin: null", 403},
		{free, "POST", "/v1/drain", "Host: localhost\r\nSec-Fetch-Site: same-site", 403},
		{free, "DELETE", "/v1/connections", "Host: localhost\r\nSec-Fetch-Site: cross-site", 403},
		{free, "POST", "/v1/drain", "Host: localhost\r\nSec-Fetch-Site: same-origin", 200},
		{free, "POST", "/v1/drain", "Host: localhost\r\nOrigin: http://localhost", 200},
		{asking, "POST", "/v1/drain", "Host: localhost\r\nOrigin: http://evil.example\r\nAuthorization: Bearer " + token, 403},
		{asking, "GET", "/v1/config", "Host: evil.example\r\nAuthorization: Bearer " + token, 200}, // no page has it
	} {
		c, err := net.Dial("tcp", test.to.Address())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n", test.method, test.path, test.header)
		answer, _ := io.ReadAll(c)
		c.Close()
		if !strings.HasPrefix(string(answer), fmt.Sprintf("HTTP/1.1 %d ", test.want)) {
			t.Errorf("%s %s with %q: %.100q, want %d", test.method, test.path, test.header, answer, test.want)
		}
	}
}

// The tokens of a file that is replaced count at once; what is no good leaves the last ones.
func TestTokensChange(t *testing.T) {
	t.Parallel()
	file := write(t, "tokens", "first-token-of-all\n")
	var log bytes.Buffer
	cfg := settings.Door{Address: "127.0.0.1:0", Tokens: []settings.DoorToken{{Name: "t", File: file, Write: true}}}
	d := New(cfg, nil, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})})
	let := func(token string) bool {
		r, _ := http.NewRequest("GET", "http://x/v1/config", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		_, refusal := d.Check(r, "/v1/config")
		return refusal == nil
	}
	expect := func(step string, good, bad []string) {
		t.Helper()
		all := func() bool {
			for _, token := range good {
				if !let(token) {
					return false
				}
			}
			for _, token := range bad {
				if let(token) {
					return false
				}
			}
			return true
		}
		for deadline := time.Now().Add(20 * time.Second); !all(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not so: %v good, %v bad", step, good, bad)
			}
		}
	}
	change := func(text string) {
		t.Helper()
		next := file + ".next"
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	first, second := "first-token-of-all", "second-token-of-all"
	expect("at first", []string{first}, []string{second, ""})
	change(first + "\n" + second + "\n")
	expect("both", []string{first, second}, nil)
	change(second + "\n")
	expect("rotated", []string{second}, []string{first})
	for _, bad := range []string{"", "\n \n", strings.Repeat("x", maxTokenFile+1)} {
		change(bad)
		time.Sleep(freshness + 100*time.Millisecond)
		expect("a bad file", []string{second}, []string{first, ""})
	}
	os.Remove(file)
	time.Sleep(freshness + 100*time.Millisecond)
	expect("no file", []string{second}, []string{first, ""})
	change(first)
	expect("back", []string{first}, []string{second})
	for _, secret := range []string{first, second, "xxxxxxxxxx"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has a token:\n%s", log.String())
		}
	}
	if n := strings.Count(log.String(), "cannot be used"); n != 1 {
		t.Errorf("said %d times that the file cannot be used:\n%s", n, log.String())
	}
}

// Rules that change on a door in use: connections that are open cannot be used to go on by the old ones.
func TestUse(t *testing.T) {
	t.Parallel()
	server := issue(t, newCA(t), "argosy")
	s := serve(t, settings.Door{})
	c, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "GET /v1/config HTTP/1.1\r\nHost: localhost\r\n\r\n")
	b := make([]byte, 1000)
	if n, err := c.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 200") {
		t.Fatalf("%q %v", b[:n], err)
	}
	cfg := settings.Door{TLS: &settings.DoorTLS{CertFile: server.Cert, KeyFile: server.Key}, Tokens: []settings.DoorToken{{Name: "t", Secret: settings.NewSecret("x"), Write: true}}}
	peers, err := FilePeers(cfg.TLS, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Use(cfg, peers); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(b); !errors.Is(err, io.EOF) {
		t.Errorf("the old connection goes on: %q %v", b[:n], err)
	}
	for token, want := range map[string]int{"": 401, "x": 200} {
		if got := (credential{token: token}).status(t, client(t, credential{}, server.CA), "GET", "https://"+s.Address()+"/v1/config"); got != want {
			t.Errorf("with %q: %d, want %d", token, got, want)
		}
	}
	if got := (credential{token: "x"}).status(t, client(t, credential{}, ""), "GET", "http://"+s.Address()+"/v1/config"); got == 200 {
		t.Error("served without TLS")
	}
}
