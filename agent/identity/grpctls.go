package identity

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
)

// serverTLS is TLS to Consul's servers. gRPC's own would refuse them: the servers of Consul 1.21 and before agree on no
// protocol by ALPN, though they speak HTTP/2. For our side it makes no difference, as nothing else is spoken to them.
type serverTLS struct {
	credentials.TransportCredentials
	config *tls.Config
}

func newServerTLS(t *tls.Config) serverTLS {
	t = t.Clone()
	t.NextProtos = []string{"h2"}
	return serverTLS{credentials.NewTLS(t), t}
}

// ClientHandshake implements credentials.TransportCredentials.
func (s serverTLS) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn := tls.Client(raw, s.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, credentials.TLSInfo{
		State:          conn.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// Clone implements credentials.TransportCredentials.
func (s serverTLS) Clone() credentials.TransportCredentials { return newServerTLS(s.config) }
