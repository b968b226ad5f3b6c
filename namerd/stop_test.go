package namerd_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namerd"
	"argosy/namerd/store"
)

// Connections that say nothing, or not all, or take nothing, do not hold up the end: Nomad kills who takes longer than 5 s.
func TestStopsSoon(t *testing.T) {
	t.Parallel()
	large := parse("/a=>/" + strings.Repeat("a", 8<<20))
	for name, sent := range map[string]string{
		"nothing":     "",
		"half a head": "GET /api/1/dtabs HTTP/1.1\r\nHo",
		"half a body": "PUT /api/1/dtabs/x HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n/a",
		"reads none":  "GET /api/1/dtabs/large?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"idle":        "HEAD /api/1/dtabs HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			server := namerd.NewServer(store.NewMemory(map[string]dtab.Dtab{"large": large}), namerd.Options{})
			go func() { ended <- server.Run(ctx, l) }()
			conn, err := net.Dial("tcp", l.Addr().String())
			must(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, sent)
			must(t, err)
			send(t, l.Addr().String(), "GET", "/health", "")
			time.Sleep(100 * time.Millisecond) // so that it has come
			began := time.Now()
			stop()
			must(t, <-ended)
			if took := time.Since(began); took > 4500*time.Millisecond {
				t.Errorf("it took %v to stop", took)
			}
		})
	}
}
