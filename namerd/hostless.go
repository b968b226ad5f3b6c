package namerd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Linkerd 1.x sends no Host header, as Finagle's client adds none by itself and Namerd's server does not miss it. net/http
// answers such a request with 400 and a text, on which Linkerd's watch ends for good. So an empty Host, which is allowed, is
// put into the head before net/http reads it.

const (
	maxHead          = maxHeaderBytes + 4096 // bytes: as much as net/http reads of one
	handshakeTimeout = 10 * time.Second
)

// hostlessListener accepts connections on which requests may lack a Host.
type hostlessListener struct {
	net.Listener
	logger hclog.Logger
}

func (l hostlessListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if secured, ok := conn.(*tls.Conn); ok {
		return &hostlessTLSConn{hostlessConn{Conn: conn}, secured, l.logger}, nil
	}
	return &hostlessConn{Conn: conn}, nil
}

// hostlessConn completes the heads of requests that have no body, one after the other. From the first request that has
// one on, everything is handed through: this needs no second opinion on where a body ends. As net.Conn wants it of
// net/http, one goroutine reads at a time.
type hostlessConn struct {
	net.Conn
	head  []byte // of a request, not whole yet
	line  int    // where its last line begins that has been looked at
	ready []byte // to be read
	plain bool   // hand through what comes
}

func (c *hostlessConn) Read(p []byte) (int, error) {
	for len(c.ready) == 0 {
		if c.plain {
			return c.Conn.Read(p)
		}
		if end := c.headEnd(); end > 0 || len(c.head) > maxHead {
			c.take(end)
			continue
		}
		buffer := make([]byte, 512) // every stream has one, as net/http reads on to notice its end
		n, err := c.Conn.Read(buffer)
		c.head = append(c.head, buffer[:n]...)
		switch {
		case err == nil || n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded): // net/http may read on, after another one
			return 0, err
		default:
			c.take(0)
			if len(c.ready) == 0 {
				return 0, err
			}
		}
	}
	n := copy(p, c.ready)
	if c.ready = c.ready[n:]; len(c.ready) == 0 {
		c.ready = nil
	}
	return n, nil
}

// NetConn is the connection below, which the door knows.
func (c *hostlessConn) NetConn() net.Conn { return c.Conn }

// CloseWrite is for net/http, which wants its last words to arrive before it closes.
func (c *hostlessConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// take makes a head that ends there ready to be read, or without an end, all there is.
func (c *hostlessConn) take(end int) {
	c.ready, c.plain = completed(c.head[:end])
	if c.plain || end == 0 {
		c.ready, c.plain = append(c.ready, c.head[end:]...), true
		c.head = nil
		return
	}
	if c.head = c.head[end:]; len(c.head) == 0 {
		c.head = nil
	}
}

// headEnd is where the head ends: behind its first empty line; 0 where there is none yet.
func (c *hostlessConn) headEnd() int {
	for {
		n := bytes.IndexByte(c.head[c.line:], '\n')
		if n < 0 {
			return 0
		}
		end := c.line + n + 1
		if n == 0 || n == 1 && c.head[c.line] == '\r' {
			c.line = 0
			return end
		}
		c.line = end
	}
}

// completed is a head with a Host. last: a body may follow, or it is no head of HTTP/1.1.
func completed(head []byte) (whole []byte, last bool) {
	first, rest, _ := bytes.Cut(head, []byte("\n"))
	if !bytes.HasSuffix(bytes.TrimSuffix(first, []byte("\r")), []byte(" HTTP/1.1")) {
		return head, true
	}
	hosted := false
	for line := range bytes.Lines(rest) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(bytes.ToLower(bytes.TrimSpace(name))) {
		case "host":
			hosted = true
		case "content-length", "transfer-encoding", "upgrade":
			last = true
		}
	}
	if hosted {
		return head, last
	}
	whole = append(make([]byte, 0, len(head)+len("Host:\r\n")), head[:len(first)+1]...)
	return append(append(whole, "Host:\r\n"...), rest...), last
}

// hostlessTLSConn is one over TLS.
type hostlessTLSConn struct {
	hostlessConn
	secured *tls.Conn
	logger  hclog.Logger
}

// ConnectionState is asked by net/http before it reads the first request, and so is where the handshake has its place.
// After one that failed nothing can be read.
func (c *hostlessTLSConn) ConnectionState() tls.ConnectionState {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := c.secured.HandshakeContext(ctx); err != nil {
		var record tls.RecordHeaderError
		if errors.As(err, &record) && record.Conn != nil && plainHTTP(record.RecordHeader) {
			_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
			record.Conn.Close()
		}
		c.logger.Debug("TLS handshake failed", "address", c.RemoteAddr().String(), "error", err)
	}
	return c.secured.ConnectionState()
}

func plainHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "DELET":
		return true
	}
	return false
}
