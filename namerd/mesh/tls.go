package mesh

import (
	"crypto/tls"
	"net"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/credentials"
)

// secured is TLS whose failed handshakes are logged; gRPC keeps them to itself.
type secured struct {
	credentials.TransportCredentials
	logger hclog.Logger
}

func newSecured(t *tls.Config, logger hclog.Logger) secured {
	t = t.Clone()
	t.NextProtos = []string{"h2"} // there is nothing else to agree on
	return secured{credentials.NewTLS(t), logger}
}

// ServerHandshake implements credentials.TransportCredentials.
func (s secured) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	safe, info, err := s.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		s.logger.Debug("TLS handshake failed", "peer", conn.RemoteAddr().String(), "error", err)
	}
	return safe, info, err
}

// Clone implements credentials.TransportCredentials.
func (s secured) Clone() credentials.TransportCredentials {
	return secured{s.TransportCredentials.Clone(), s.logger}
}
