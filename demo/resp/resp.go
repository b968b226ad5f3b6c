// Package resp is a small client for Redis's protocol (RESP2): one connection, one command at a time. It is what the
// demo's web servers need and no more; see https://redis.io/docs/latest/develop/reference/protocol-spec/.
package resp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// maxBulk bounds a reply's size in bytes, so that a broken peer cannot make us allocate without end.
const maxBulk = 1 << 20

// Error is an error reply: the server understood and said no. The connection can be used further.
type Error string

func (e Error) Error() string { return "redis: " + string(e) }

// ErrProtocol is what all malformed replies wrap.
var ErrProtocol = errors.New("malformed reply")

// Conn is a connection to a Redis server. It is used by one goroutine at a time.
type Conn struct {
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
}

// NewConn speaks Redis over c, which it owns from then on.
func NewConn(c net.Conn) *Conn {
	return &Conn{conn: c, r: bufio.NewReaderSize(c, 4096), w: bufio.NewWriterSize(c, 4096)}
}

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Do sends a command and returns its reply as text; a nil reply is not ok. Integers and simple strings come as their
// text. After any error but Error the connection is of no use.
func (c *Conn) Do(timeout time.Duration, args ...string) (reply string, ok bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", false, err
	}
	fmt.Fprintf(c.w, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(c.w, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := c.w.Flush(); err != nil {
		return "", false, err
	}
	return c.read()
}

func (c *Conn) read() (string, bool, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fmt.Errorf("%w: line too long", ErrProtocol)
		}
		return "", false, err
	}
	text, isLine := strings.CutSuffix(string(line), "\r\n")
	if !isLine || text == "" {
		return "", false, fmt.Errorf("%w: %q", ErrProtocol, line)
	}
	kind, text := text[0], text[1:]
	switch kind {
	case '+', ':':
		return text, true, nil
	case '-':
		return "", false, Error(text)
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < -1 || n > maxBulk {
			return "", false, fmt.Errorf("%w: length %q", ErrProtocol, text)
		}
		if n == -1 {
			return "", false, nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return "", false, err
		}
		if b[n] != '\r' || b[n+1] != '\n' {
			return "", false, fmt.Errorf("%w: value without line end", ErrProtocol)
		}
		return string(b[:n]), true, nil
	}
	return "", false, fmt.Errorf("%w: type %q", ErrProtocol, kind)
}

// Info asks for INFO and returns its fields, such as total_commands_processed.
func (c *Conn) Info(timeout time.Duration) (map[string]string, error) {
	text, _, err := c.Do(timeout, "INFO")
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	return fields, nil
}
