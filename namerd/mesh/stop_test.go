package mesh

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Connections that never say what they want do not hold up the end: Nomad kills who takes longer than 5 s.
func TestStopsSoon(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{"nothing": "", "no answer to GOAWAY": http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() { ended <- New(Options{}).Run(ctx, l) }()
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond) // so that it has come
			began := time.Now()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 4800*time.Millisecond {
				t.Errorf("it took %v to stop", took)
			}
		})
	}
}
