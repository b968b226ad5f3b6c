package door

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"testing"

	"argosy/internal/settings"
)

// A Connect service that is not among the clients does not come in with a token either where a certificate is required.
func TestClientsOfConnect(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef"
	tokens := []settings.DoorToken{{Name: "t", Secret: settings.NewSecret(secret), Write: true}}
	peers := &Peers{TLS: &tls.Config{}, Verify: func(tls.ConnectionState) error { return nil },
		Name: func(s tls.ConnectionState) string { return s.PeerCertificates[0].Subject.CommonName }}
	ask := func(required bool, tokens []settings.DoorToken, name, token string) int {
		d := New(settings.Door{TLS: &settings.DoorTLS{Connect: "edge", Clients: []string{"ops"}, Required: required}, Tokens: tokens}, peers, Options{})
		r := httptest.NewRequest("POST", "https://127.0.0.1/v1/drain", nil)
		r.TLS = &tls.ConnectionState{}
		if name != "" {
			c := &x509.Certificate{}
			c.Subject.CommonName = name
			r.TLS.PeerCertificates = []*x509.Certificate{c}
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		if _, refusal := d.Check(r, r.URL.Path); refusal != nil {
			return refusal.Status
		}
		return 200
	}
	for _, test := range []struct {
		required    bool
		tokens      []settings.DoorToken
		name, token string
		want        int
	}{
		{true, tokens, "ops", secret, 200}, {true, tokens, "web", secret, 403}, {true, tokens, "ops", "", 401}, {true, tokens, "", secret, 401},
		{true, nil, "ops", "", 200}, {true, nil, "web", "", 403},
		{false, tokens, "web", secret, 200}, {false, tokens, "web", "", 403}, {false, tokens, "ops", "", 200}, {false, tokens, "", secret, 200},
		{false, tokens, "", "", 401}, {false, nil, "web", "", 403},
		{false, nil, "web", secret, 403}, {false, tokens, "web", "wrong", 403}, {false, tokens, "ops", "wrong", 401}, {false, nil, "", "", 401},
	} {
		if got := ask(test.required, test.tokens, test.name, test.token); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}
