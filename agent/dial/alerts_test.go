package dial

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/namer"
)

// TestAlerts: the alerts of RFC 8446, section 6, by their numbers. crypto/tls tells them only by texts, which are its own.
func TestAlerts(t *testing.T) {
	for _, c := range []struct {
		alert byte
		want  outcome.Outcome
		hint  string
	}{
		{42, outcome.Denied, ""},                                 // bad_certificate
		{43, outcome.Denied, ""},                                 // unsupported_certificate
		{44, outcome.Denied, ""},                                 // certificate_revoked
		{45, outcome.Denied, ""},                                 // certificate_expired
		{46, outcome.Denied, ""},                                 // certificate_unknown
		{48, outcome.Denied, ""},                                 // unknown_ca
		{49, outcome.Denied, ""},                                 // access_denied
		{116, outcome.Denied, ""},                                // certificate_required
		{40, outcome.TLS, "look at min_version"},                 // handshake_failure
		{70, outcome.TLS, "look at min_version"},                 // protocol_version
		{71, outcome.TLS, "look at min_version"},                 // insufficient_security
		{80, outcome.TLS, "trouble of its own"},                  // internal_error
		{112, outcome.TLS, "does not know the server name"},      // unrecognized_name
		{120, outcome.TLS, "wants a protocol that is not in"},    // no_application_protocol
		{51, outcome.TLS, "TLS handshake: remote error"},         // decrypt_error
		{10, outcome.TLS, "TLS handshake: remote error"},         // unexpected_message
		{0, outcome.TLS, "closed the connection without saying"}, // close_notify
	} {
		addr := serve(t, func(conn net.Conn) {
			conn.Read(make([]byte, 4096)) // the ClientHello
			conn.Write([]byte{21, 3, 3, 0, 2, 2, c.alert})
			io.Copy(io.Discard, conn)
		})
		p := &Policy{Timeout: 5 * time.Second, TLS: func(namer.Endpoint) (*tls.Config, error) { return &tls.Config{InsecureSkipVerify: true}, nil }}
		_, err := p.Dial(t.Context(), Request{}, namer.Endpoint{Addr: addr})
		if outcome.Of(err, outcome.Dial) != c.want || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("alert %d: %s, %v", c.alert, outcome.Of(err, outcome.Dial), err)
		}
	}
}
