package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Refusal shakes hands and returns the error with which the server refused the client, or nil when the client was let in.
// The connection needs a deadline; err is set when the server has neither served nor refused by then.
func Refusal(ctx context.Context, c *tls.Conn) (refusal, err error) {
	if err := c.HandshakeContext(ctx); err != nil {
		return err, nil
	}
	// With TLS 1.3 the client is done before the server has looked: the refusal comes with the first answer.
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err, nil
	}
	_, err = c.Read(make([]byte, 16))
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil, fmt.Errorf("neither served nor refused: %w", err)
	}
	return err, nil
}
