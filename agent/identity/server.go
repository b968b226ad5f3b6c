package identity

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"argosy/internal/tlsfiles"
)

// ServerOptions say how a server with certificates from files terminates TLS.
type ServerOptions struct {
	OptionalClients bool     // clients may show no certificate; one that they show has to be good all the same
	MinVersion      uint16   // tls.VersionTLS12 unless set
	ALPN            []string // to agree on, the best first; clients that offer only others are refused
	// ClientIDs are the SPIFFE ids that clients may have, or what such ids begin with, followed by *. None: any, or none.
	ClientIDs []string
}

// Server implements Identity. With a CA, clients must have certificates that it signed.
func (f *Files) Server() *tls.Config { return f.ServerWith(ServerOptions{}) }

// ServerWith is Server with more to say.
//
// Clients may resume their sessions with tickets. A ticket does not let anybody in who would not be let in without one:
// who the client is was noted in it and is verified again with the roots of now, and a ticket from before the roots were
// changed leads to a whole handshake. The keys of tickets are renewed every day and are lost with the process.
func (f *Files) ServerWith(o ServerOptions) *tls.Config {
	t := tlsfiles.Base()
	t.MinVersion = max(t.MinVersion, o.MinVersion)
	t.NextProtos = o.ALPN
	t.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := f.files.State().Choose(hello)
		if err != nil {
			return nil, errors.Join(ErrNotReady, err)
		}
		return cert, nil
	}
	if slices.Contains(o.ALPN, "h2") && !slices.Contains(o.ALPN, "http/1.1") {
		// crypto/tls lets a client that offers only http/1.1 pass with no protocol agreed on.
		t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if len(hello.SupportedProtos) > 0 && !slices.ContainsFunc(hello.SupportedProtos, func(p string) bool {
				return slices.Contains(o.ALPN, p)
			}) {
				return nil, errors.New("the client offers none of our protocols")
			}
			return nil, nil // go on with this configuration
		}
	}
	if !f.files.HasRoots() {
		return t
	}
	t.ClientAuth = tls.RequireAnyClientCert
	if o.OptionalClients {
		t.ClientAuth = tls.RequestClientCert
	}
	t.VerifyConnection = func(s tls.ConnectionState) error { // also called for sessions that are resumed
		if o.OptionalClients && len(s.PeerCertificates) == 0 {
			return nil
		}
		if err := verifyChain(s.PeerCertificates, f.files.Roots(), x509.ExtKeyUsageClientAuth, ""); err != nil {
			return err
		}
		return permit(s.PeerCertificates[0], o.ClientIDs)
	}
	f.bindTickets(t)
	return t
}

// permit says whether a client, whose certificate has been verified, has one of the ids.
func permit(client *x509.Certificate, ids []string) error {
	if len(ids) == 0 || len(client.URIs) == 1 && slices.ContainsFunc(ids, func(id string) bool { return covers(id, client.URIs[0]) }) {
		return nil
	}
	return fmt.Errorf("%w: %s is none of the listener's client_spiffe_ids", ErrDenied, describe(client))
}

// covers reports whether an id of a configuration stands for a certificate's. Where it stands for all below it, those do not
// count whose path could be read as another one.
func covers(id string, got *url.URL) bool {
	text := got.String()
	below, all := strings.CutSuffix(id, "*")
	if !all {
		return text == id
	}
	return strings.HasPrefix(text, below) && len(text) > len(below) && got.RawPath == "" && path.Clean(got.Path) == got.Path &&
		got.RawQuery == "" && !got.ForceQuery && got.Fragment == ""
}

// bindTickets makes tickets good only as long as the roots are those with which the client was verified. A client whose
// new certificate comes from a new CA is so asked for it, where a resumed session would be refused for the old one.
func (f *Files) bindTickets(t *tls.Config) {
	t.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		id := f.files.State().RootsID
		ss.Extra = append(ss.Extra, id[:])
		return t.EncryptTicket(cs, ss)
	}
	t.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := t.DecryptTicket(ticket, cs)
		if err != nil || ss == nil {
			return nil, err
		}
		id := f.files.State().RootsID
		if len(ss.Extra) != 1 || !bytes.Equal(ss.Extra[0], id[:]) {
			return nil, nil // a whole handshake
		}
		return ss, nil
	}
}
