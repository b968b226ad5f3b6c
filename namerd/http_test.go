package namerd_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namerd"
	"argosy/namerd/store"
)

const v1 = "AAAAAAAAAAE="

func parse(text string) dtab.Dtab {
	d, err := dtab.Parse(text)
	if err != nil {
		panic(err)
	}
	return d
}

// serve runs a server over the two tables that Namerd's own tests have, and returns its address.
func serve(t *testing.T, s store.Store, o namerd.Options) string {
	t.Helper()
	return run(t, namerd.NewServer(s, o))
}

func run(t *testing.T, server *namerd.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func fixture() *store.Memory {
	return store.NewMemory(map[string]dtab.Dtab{"yeezus": parse("/yeezy => /yeezus"), "tlop": parse("/yeezy => /pablo")})
}

// send sends a request exactly as written, and reads the answer.
func send(t *testing.T, address, method, target, body string, header ...string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: namerd\r\nConnection: close\r\n", method, target)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	if body != "" || method == "POST" || method == "PUT" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	if _, err := io.WriteString(conn, b.String()); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(text)
}

func TestReading(t *testing.T) {
	t.Parallel()
	address := serve(t, fixture(), namerd.Options{})
	const asJSON = `[{"prefix":"/yeezy","dst":"/yeezus"}]` + "\n"
	const asText = "/yeezy=>/yeezus\n"
	for _, test := range []struct {
		method, target, accept string
		status                 int
		contentType, etag      string
		body                   string
	}{
		{"GET", "/api/1/dtabs", "", 200, "application/json", "", `["tlop","yeezus"]` + "\n"},
		{"GET", "/api/1/dtabs/", "", 200, "application/json", "", `["tlop","yeezus"]` + "\n"},
		{"POST", "/api/1/dtabs", "", 200, "application/json", "", `["tlop","yeezus"]` + "\n"},
		{"BREW", "/api/1/dtabs", "", 200, "application/json", "", `["tlop","yeezus"]` + "\n"},
		{"GET", "/api/1/dtabs?watch=no", "", 200, "application/json", "", `["tlop","yeezus"]` + "\n"},
		{"HEAD", "/api/1/dtabs", "", 200, "application/json", "", ""},
		{"GET", "/api/1/dtabsexpialidocious", "", 404, "", "", ""},
		{"GET", "/api/1/dtabs/yeezus", "", 200, "application/json", v1, asJSON},
		{"GET", "/api/1/dtabs/yeezus", "application/dtab, application/json", 200, "application/dtab", v1, asText},
		{"GET", "/api/1/dtabs/yeezus", "application/dtab;q=0.9, application/json", 200, "application/dtab", v1, asText},
		{"GET", "/api/1/dtabs/yeezus", "text/plain, application/json", 200, "text/plain", v1, asText},
		{"GET", "/api/1/dtabs/yeezus", "text/plain;q=0.9, application/json", 200, "text/plain", v1, asText},
		{"GET", "/api/1/dtabs/yeezus", "image/png, TEXT/Plain", 200, "text/plain", v1, asText},
		{"GET", "/api/1/dtabs/yeezus", "*/*", 200, "application/json", v1, asJSON},
		{"GET", "/api/1/dtabs/yeezus", "image/png", 200, "application/json", v1, asJSON},
		{"HEAD", "/api/1/dtabs/yeezus", "", 200, "", v1, ""},
		{"GET", "/api/1/dtabs/graduation", "", 404, "", "", ""},
		{"HEAD", "/api/1/dtabs/graduation", "", 404, "", "", ""},
		{"PATCH", "/api/1/dtabs/yeezus", "", 404, "", "", ""},
		{"OPTIONS", "/api/1/dtabs/yeezus", "", 404, "", "", ""},
		{"GET", "/api/1/dtabs/a/b", "", 400, "text/plain", "", `invalid namespace name: only letters, digits, '-' and '_' are allowed: "a/b"`},
		{"GET", "/api/1/dtabs/a%20b", "", 400, "text/plain", "", `invalid namespace name: only letters, digits, '-' and '_' are allowed: "a%20b"`},
		{"GET", "/api/1/dtabs/%79eezus", "", 400, "text/plain", "", `invalid namespace name: only letters, digits, '-' and '_' are allowed: "%79eezus"`},
		{"GET", "/api/1/dtabs//yeezus", "", 400, "text/plain", "", `invalid namespace name: only letters, digits, '-' and '_' are allowed: "/yeezus"`},
		{"GET", "//api/1/dtabs", "", 404, "", "", ""},
		{"GET", "/api/1/./dtabs", "", 404, "", "", ""},
		{"GET", "/", "", 404, "", "", ""},
		{"GET", "/api/1/bind/default?path=/foo", "", 501, "text/plain", "", "this namerd serves dtabs only and binds no names"},
		{"GET", "/api/1/resolve/default?path=/foo", "", 501, "text/plain", "", "this namerd serves dtabs only and binds no names"},
		{"GET", "/api/1/delegate", "", 501, "text/plain", "", "this namerd serves dtabs only and binds no names"},
		{"POST", "/health", "", 404, "", "", ""},
		{"GET", "/health", "", 200, "application/json", "", `{"namespaces":2,"status":"ok"}` + "\n"},
	} {
		header := []string{}
		if test.accept != "" {
			header = append(header, "Accept: "+test.accept)
		}
		r, body := send(t, address, test.method, test.target, "", header...)
		if r.StatusCode != test.status || r.Header.Get("Content-Type") != test.contentType || r.Header.Get("ETag") != test.etag || body != test.body {
			t.Errorf("%s %s (%s):\n got %d %q %q %q\nwant %d %q %q %q", test.method, test.target, test.accept, r.StatusCode,
				r.Header.Get("Content-Type"), r.Header.Get("ETag"), body, test.status, test.contentType, test.etag, test.body)
		}
	}
	if r, _ := send(t, address, "HEAD", "/api/1/dtabs/yeezus", ""); r.Header.Get("Content-Length") != "" || len(r.TransferEncoding) > 0 {
		t.Errorf("HEAD has a length: %v", r.Header)
	}
}

func TestWriting(t *testing.T) {
	t.Parallel()
	const graduation, yeezus = "/api/1/dtabs/graduation", "/api/1/dtabs/yeezus"
	const kanye, asJSON = "/yeezy => /kanye", `[{"prefix":"/yeezy","dst":"/kanye"}]`
	const parserMessage = "'/' expected but 'x' found at '[x]'"
	typ := func(s string) string { return "Content-Type: " + s }
	for _, test := range []struct {
		method, target string
		header         []string
		body           string
		status         int
		answer         string
		stored         string // at the target afterwards; "-" for nothing
	}{
		{"POST", graduation, nil, kanye, 400, "", "-"},
		{"POST", graduation, []string{typ("application/json")}, asJSON, 204, "", "/yeezy=>/kanye"},
		{"POST", graduation, []string{typ("application/json;charset=UTF-8")}, asJSON, 204, "", "/yeezy=>/kanye"},
		{"POST", graduation, []string{typ("text/plain")}, kanye, 204, "", "/yeezy=>/kanye"},
		{"POST", graduation, []string{typ("application/dtab")}, kanye, 204, "", "/yeezy=>/kanye"},
		{"POST", graduation, []string{typ("Application/DTAB ; a=b")}, kanye, 204, "", "/yeezy=>/kanye"},
		{"POST", graduation, []string{typ("application/dtab")}, "# version AAAAAAAAAAE=\n/yeezy  => /kanye ;\n", 204, "", "/yeezy=>/kanye"},
		{"POST", graduation, []string{typ("application/dtab")}, "", 204, "", ""},
		{"POST", graduation, []string{typ("application/xml")}, kanye, 400, "", "-"},
		{"POST", graduation, []string{typ("application/dtab")}, "x", 400, "", "-"},
		{"POST", graduation, []string{typ("application/json")}, `[{"prefix":"x","dst":"/y"}]`, 400, "", "-"},
		{"POST", graduation, []string{typ("application/json")}, `[{"prefix":"/x","dst":"/y","z":1}]`, 400, "", "-"},
		{"POST", graduation, []string{typ("application/json")}, `[{"prefix":"/x"}]`, 400, "", "-"},
		{"POST", graduation, []string{typ("application/json")}, `[null]`, 400, "The dtab contains invalid dentries: [null]", "-"},
		{"POST", graduation, []string{typ("application/json")}, `null`, 400, "", "-"},
		{"POST", graduation, []string{typ("application/json")}, ``, 400, "", "-"},
		{"POST", graduation, []string{typ("application/json")}, `[] []`, 400, "", "-"},
		{"POST", graduation, []string{typ("application/json")}, `{"version":"x","dtab":[]}`, 400, "", "-"},
		{"POST", yeezus, []string{typ("text/plain")}, kanye, 409, "", "/yeezy=>/yeezus"},
		{"POST", graduation, []string{typ("text/plain"), "If-Match: yolo"}, kanye, 204, "", "/yeezy=>/kanye"},
		{"POST", "/api/1/dtabs/a.b", []string{typ("text/plain")}, kanye, 400, `invalid namespace name: only letters, digits, '-' and '_' are allowed: "a.b"`, ""},

		{"PUT", yeezus, nil, kanye, 400, `Invalid Content-Type "". `, "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("image/png; q=1")}, kanye, 400, `Invalid Content-Type "image/png; q=1". `, "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("application/json")}, asJSON, 204, "", "/yeezy=>/kanye"},
		{"PUT", yeezus, []string{typ("application/json;charset=UTF-8")}, asJSON, 204, "", "/yeezy=>/kanye"},
		{"PUT", yeezus, []string{typ("text/plain")}, kanye, 204, "", "/yeezy=>/kanye"},
		{"PUT", yeezus, []string{typ("application/dtab")}, kanye, 204, "", "/yeezy=>/kanye"},
		{"PUT", yeezus, []string{typ("application/dtab")}, "x", 400, parserMessage, "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("application/json")}, "x", 400, "", "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("application/json")}, `[{"prefix":"x","dst":"/y"}]`, 400, "", "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("application/json")}, `[null]`, 400, "", "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("application/json")}, `null`, 400, "", "/yeezy=>/yeezus"},
		{"PUT", graduation, []string{typ("text/plain")}, kanye, 204, "", "/yeezy=>/kanye"},
		{"PUT", graduation, []string{typ("text/plain"), "If-Match: " + v1}, kanye, 404, "", "-"},
		{"PUT", yeezus, []string{typ("text/plain"), "If-Match: " + v1}, kanye, 204, "", "/yeezy=>/kanye"},
		{"PUT", yeezus, []string{typ("application/json"), "If-Match: " + v1}, asJSON, 204, "", "/yeezy=>/kanye"},
		{"PUT", yeezus, []string{typ("text/plain"), `If-Match: "` + v1 + `"`}, kanye, 204, "", "/yeezy=>/kanye"},
		{"PUT", yeezus, []string{typ("text/plain"), "If-Match: AAAAAAAAAAE"}, kanye, 204, "", "/yeezy=>/kanye"},
		{"PUT", yeezus, []string{typ("text/plain"), "If-Match: yolo"}, kanye, 412, "", "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("text/plain"), "If-Match: *"}, kanye, 412, "", "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("text/plain"), "If-Match:"}, kanye, 412, "", "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("text/plain"), `If-Match: W/"` + v1 + `"`}, kanye, 412, "", "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("text/plain"), "If-Match: x"}, kanye, 412, "", "/yeezy=>/yeezus"},
		{"PUT", yeezus, []string{typ("text/plain"), `If-Match: "` + v1 + `", "AAAAAAAAAAI="`}, kanye, 412, "", "/yeezy=>/yeezus"},

		{"DELETE", yeezus, nil, "", 204, "", "-"},
		{"DELETE", yeezus, []string{"If-Match: yolo"}, "", 204, "", "-"},
		{"DELETE", graduation, nil, "", 404, "", "-"},
	} {
		s := fixture()
		address := serve(t, s, namerd.Options{})
		r, body := send(t, address, test.method, test.target, test.body, test.header...)
		ns := strings.TrimPrefix(test.target, "/api/1/dtabs/")
		stored := "-"
		if e, err := s.Get(t.Context(), ns); err == nil {
			stored = e.Dtab.String()
		} else if errors.Is(err, store.ErrName) {
			stored = ""
		}
		if r.StatusCode != test.status || body != test.answer || stored != test.stored || r.Header.Get("ETag")+r.Header.Get("Location") != "" {
			t.Errorf("%s %s %q %q:\n got %d %q, stored %q\nwant %d %q, stored %q", test.method, test.target, test.header, test.body,
				r.StatusCode, body, stored, test.status, test.answer, test.stored)
		}
	}
}

// A chunked upload is read like any other: in Namerd it silently empties the table.
func TestChunkedUpload(t *testing.T) {
	t.Parallel()
	s := fixture()
	address := serve(t, s, namerd.Options{})
	r, err := http.NewRequest("PUT", "http://"+address+"/api/1/dtabs/yeezus", io.MultiReader(strings.NewReader("/a=>"), strings.NewReader("/b")))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/dtab")
	a, err := http.DefaultClient.Do(r)
	if err != nil || a.StatusCode != 204 {
		t.Fatal(a, err)
	}
	if e, _ := s.Get(t.Context(), "yeezus"); e.Dtab.String() != "/a=>/b" {
		t.Error(e)
	}
}

func TestLargeBody(t *testing.T) {
	t.Parallel()
	s := fixture()
	address := serve(t, s, namerd.Options{})
	r, err := http.NewRequest("PUT", "http://"+address+"/api/1/dtabs/yeezus", strings.NewReader("#"+strings.Repeat(" ", 5<<20)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/dtab")
	if a, err := http.DefaultClient.Do(r); err != nil || a.StatusCode != 413 {
		t.Fatal(a, err)
	}
	if e, _ := s.Get(t.Context(), "yeezus"); e.Dtab.String() != "/yeezy=>/yeezus" {
		t.Error("changed")
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := fixture()
	address := serve(t, s, namerd.Options{ReadOnly: true})
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if r, body := send(t, address, method, "/api/1/dtabs/yeezus", "/a=>/b", "Content-Type: application/dtab"); r.StatusCode != 403 || !strings.Contains(body, "read-only") {
			t.Error(method, r.Status, body)
		}
	}
	if r, _ := send(t, address, "GET", "/api/1/dtabs/yeezus", ""); r.StatusCode != 200 {
		t.Error(r.Status)
	}
}

// failing is a store that is in trouble.
type failing struct{ *store.Memory }

func (failing) List(ctx ctx) ([]string, error) { return nil, errors.New("no cluster leader") }
func (failing) Get(ctx, string) (store.Entry, error) {
	return store.Entry{}, errors.New("no cluster leader")
}
func (failing) Delete(ctx, string) error { return store.ErrReadOnly }

func TestStoreInTrouble(t *testing.T) {
	t.Parallel()
	address := serve(t, failing{fixture()}, namerd.Options{})
	for _, test := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "/api/1/dtabs", 500, "no cluster leader"},
		{"GET", "/api/1/dtabs/yeezus", 500, "no cluster leader"},
		{"DELETE", "/api/1/dtabs/yeezus", 403, "store is read-only"},
		{"GET", "/health", 503, `{"reason":"no cluster leader","status":"failing"}` + "\n"},
	} {
		if r, body := send(t, address, test.method, test.target, ""); r.StatusCode != test.status || body != test.body {
			t.Errorf("%s %s: %s %q", test.method, test.target, r.Status, body)
		}
	}
}

func TestOneOfManyWriters(t *testing.T) {
	t.Parallel()
	s := fixture()
	address := serve(t, s, namerd.Options{})
	var mu sync.Mutex
	var statuses []int
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r, _ := send(t, address, "PUT", "/api/1/dtabs/yeezus", fmt.Sprintf("/a=>/%d", i), "Content-Type: application/dtab", "If-Match: "+v1)
			mu.Lock()
			defer mu.Unlock()
			statuses = append(statuses, r.StatusCode)
		})
	}
	wg.Wait()
	slices.Sort(statuses)
	if want := []int{204, 412, 412, 412, 412, 412, 412, 412}; !slices.Equal(statuses, want) {
		t.Error(statuses)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	address := serve(t, fixture(), namerd.Options{})
	send(t, address, "GET", "/api/1/dtabs/yeezus", "")
	send(t, address, "GET", "/api/1/dtabs/graduation", "")
	send(t, address, "X1", "/nowhere/1", "")
	send(t, address, "X2", "/nowhere/2", "")
	_, body := send(t, address, "GET", "/metrics", "")
	for _, want := range []string{
		`argosy_namerd_requests_total{code="200",method="GET",route="dtab"} 1`,
		`argosy_namerd_requests_total{code="404",method="GET",route="dtab"} 1`,
		`argosy_namerd_requests_total{code="404",method="other",route="other"} 2`,
		`argosy_namerd_namespaces 2`,
		`argosy_namerd_watchers{route="dtab"} 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("missing %s in\n%s", want, body)
		}
	}
}
