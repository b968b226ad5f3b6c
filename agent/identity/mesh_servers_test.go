//go:build servers

package identity

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/consultest"
)

func TestRealMesh(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{HCL: fmt.Sprintf(aclHCL, "allow"), Token: "11111111-1111-1111-1111-111111111111"})
	token, _, err := c.Client.ACL().TokenCreate(&api.ACLToken{Description: "may do nothing"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := runMesh(t, c.ClientWith(t, token.SecretID))
	m.says(t, restriction{}, restriction{})

	set := func(tls *api.MeshTLSConfig) {
		t.Helper()
		consultest.Eventually(t, 10*time.Second, func() error {
			_, _, err := c.Client.ConfigEntries().Set(&api.MeshConfigEntry{TLS: tls}, nil)
			return err
		})
	}
	set(&api.MeshTLSConfig{Incoming: &api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_3"}})
	m.says(t, restriction{min: tls.VersionTLS13}, restriction{})
	set(&api.MeshTLSConfig{Outgoing: &api.MeshDirectionalTLSConfig{
		TLSMinVersion: "TLSv1_2", TLSMaxVersion: "TLSv1_2",
		CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"},
	}})
	m.says(t, restriction{}, restriction{
		min: tls.VersionTLS12, max: tls.VersionTLS12, chosen: true, suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
	})
	if _, err := c.Client.ConfigEntries().Delete(api.MeshConfig, api.MeshConfigMesh, nil); err != nil {
		t.Fatal(err)
	}
	m.says(t, restriction{}, restriction{})
}
