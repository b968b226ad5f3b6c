package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
)

// helloLimit is more than the largest ClientHello that crypto/tls accepts, with the headers of its records.
const helloLimit = 80 << 10

var (
	errPeeked   = errors.New("seen enough")
	errTooLarge = errors.New("the ClientHello is too large")
)

// peek reads a ClientHello and returns its server name, the protocols that it offers, and all bytes that were read. The
// parsing is that of crypto/tls, which also puts together a message in many records and segments: it is run on a
// connection on which it cannot write, and ended as soon as it knows the name.
func peek(c net.Conn) (server string, protocols []string, read []byte, err error) {
	r := &recorder{Conn: c}
	config := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		server, protocols = h.ServerName, slices.Clone(h.SupportedProtos)
		return nil, errPeeked
	}}
	err = tls.Server(r, config).HandshakeContext(context.Background())
	if errors.Is(err, errPeeked) {
		err = nil
	} else if err == nil {
		err = errors.New("handshake without a ClientHello") // cannot be
	}
	return server, protocols, r.read, err
}

// recorder keeps what is read and refuses to write.
type recorder struct {
	net.Conn
	read []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	if len(r.read) >= helloLimit {
		return 0, errTooLarge
	}
	n, err := r.Conn.Read(b)
	r.read = append(r.read, b[:n]...)
	return n, err
}

func (r *recorder) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Close is for nobody but the owner of the connection.
func (r *recorder) Close() error { return nil }

// prefixed is a connection of which the first bytes have been read already.
type prefixed struct {
	net.Conn
	early []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.early) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.early)
	if p.early = p.early[n:]; len(p.early) == 0 {
		p.early = nil
	}
	return n, nil
}
