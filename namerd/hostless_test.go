package namerd_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"argosy/namerd"
)

// Linkerd's requests have no Host: the heads of several on one connection are taken, in whatever pieces they come.
func TestNoHost(t *testing.T) {
	t.Parallel()
	address := serve(t, fixture(), namerd.Options{})
	get := func(head string) string { return "GET /api/1/dtabs/yeezus HTTP/1.1\r\n" + head + "\r\n" }
	for name, test := range map[string]struct {
		sent     string
		statuses []int
	}{
		"none":             {get(""), []int{200}},
		"other headers":    {get("Finagle-Ctx-com.twitter.finagle.Deadline: 1 2\r\nAccept: text/plain\r\n"), []int{200}},
		"several":          {get("") + get("Host: x\r\n") + get("A: b\r\n"), []int{200, 200, 200}},
		"HEAD, DELETE":     {"HEAD /api/1/dtabs/none HTTP/1.1\r\n\r\nDELETE /api/1/dtabs/none HTTP/1.1\r\n\r\n", []int{404, 404}},
		"bare line feeds":  {"GET /api/1/dtabs HTTP/1.1\n\n" + get(""), []int{200, 200}},
		"with a body":      {"POST /api/1/delegate HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}" + get("Host: x\r\n"), []int{501, 200}},
		"chunked":          {"POST /api/1/delegate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + get("Host: x\r\n"), []int{501, 200}},
		"none after those": {"PUT /api/1/dtabs/none HTTP/1.1\r\nContent-Length: 1\r\n\r\n/" + get(""), []int{400, 400}},
		"no head":          {"GET /api/1/dtabs\r\n\r\n", []int{400}},
		"a long one":       {get("A: " + strings.Repeat("a", 100_000) + "\r\n"), []int{431}},
		"two":              {get("Host: x\r\nHost: y\r\n"), []int{400}},
		"HTTP/1.0":         {"GET /api/1/dtabs HTTP/1.0\r\n\r\n", []int{200}},
		"half a head":      {"GET /api/1/dtabs HTTP/1.1\r\nHost", []int{400}},
	} {
		for _, pieces := range []bool{false, true} {
			conn, err := net.Dial("tcp", address)
			must(t, err)
			defer conn.Close()
			must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
			go func() { // what is cut off may fail to be sent
				if pieces && len(test.sent) < 1000 {
					_, _ = io.Copy(struct{ io.Writer }{conn}, iotest.OneByteReader(strings.NewReader(test.sent)))
				} else {
					_, _ = io.WriteString(conn, test.sent)
				}
				if name == "half a head" {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
			}()
			read := bufio.NewReader(conn)
			method, _, _ := strings.Cut(test.sent, " ")
			for i, want := range test.statuses {
				r, err := http.ReadResponse(read, &http.Request{Method: method})
				if err != nil {
					t.Errorf("%s, answer %d: %v", name, i, err)
					break
				}
				_, _ = io.Copy(io.Discard, r.Body)
				if r.StatusCode != want {
					t.Errorf("%s, answer %d: got %s, want %d", name, i, r.Status, want)
				}
				method = "GET"
			}
		}
	}
}

// A watch without a Host is a stream like others.
func TestWatchWithoutHost(t *testing.T) {
	t.Parallel()
	s := fixture()
	address := serve(t, s, namerd.Options{})
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, "GET /api/1/dtabs/yeezus?watch=1 HTTP/1.1\r\n\r\n")
	must(t, err)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	lines := bufio.NewReader(r.Body)
	for _, dst := range []string{"/yeezus", "/kanye"} {
		line, err := lines.ReadString('\n')
		must(t, err)
		if want := `[{"prefix":"/yeezy","dst":"` + dst + `"}]` + "\n"; line != want {
			t.Errorf("got %s, want %s", line, want)
		}
		must(t, s.Put(t.Context(), "yeezus", parse("/yeezy => /kanye")))
	}
}
