package dial

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// Postgres is the protocol in which a client asks for TLS with an SSLRequest message.
const Postgres = "postgres"

// sslRequest is Postgres's SSLRequest: its length, and the number 80877103 in place of a protocol version
// (https://www.postgresql.org/docs/current/protocol-message-formats.html).
const sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"

var errStartTLS = errors.New("asking for TLS")

// startTLS asks the server on c for TLS. It reads not a byte more than the answer: what comes with it in the clear could be
// anybody's (CVE-2021-23222).
func startTLS(c net.Conn, protocol string) error {
	if protocol != Postgres {
		return fmt.Errorf("%w: no way is known for %q", errStartTLS, protocol)
	}
	if _, err := io.WriteString(c, sslRequest); err != nil {
		return fmt.Errorf("%w: %w", errStartTLS, err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return fmt.Errorf("%w: %w", errStartTLS, err)
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N':
		return fmt.Errorf("%w: the server does not offer it", errStartTLS)
	}
	return fmt.Errorf("%w: the answer is %q, which is not Postgres's", errStartTLS, answer[0])
}
