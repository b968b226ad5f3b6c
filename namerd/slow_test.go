package namerd

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"argosy/namerd/store"
)

// pipes is a listener whose connections are in memory, so that time need not pass for them.
type pipes struct {
	conns chan net.Conn
	done  context.Context
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done.Done():
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestSlowBody: whoever sends a table byte by byte is not waited for for ever, and one that is only slow is.
func TestSlowBody(t *testing.T) {
	for pause, want := range map[time.Duration]int{
		bodyTimeout / 20: http.StatusNoContent,
		bodyTimeout / 5:  http.StatusBadRequest,
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			l := pipes{conns: make(chan net.Conn), done: ctx}
			ended := make(chan error, 1)
			go func() { ended <- NewServer(store.NewMemory(nil), Options{}).Run(ctx, l) }()
			client, server := net.Pipe()
			l.conns <- server
			var writing sync.WaitGroup
			writing.Go(func() {
				io.WriteString(client, "PUT /api/1/dtabs/default HTTP/1.1\r\nHost: x\r\nContent-Type: application/dtab\r\nContent-Length: 10\r\n\r\n")
				for _, b := range []byte("/abc=>/def") {
					time.Sleep(pause)
					client.Write([]byte{b})
				}
			})
			answer, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != want {
				t.Errorf("a byte every %v: %s, want %d", pause, answer.Status, want)
			}
			client.Close()
			writing.Wait()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
