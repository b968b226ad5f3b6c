package consulclient

import (
	"fmt"

	"github.com/hashicorp/consul/api"

	"argosy/internal/settings"
)

// Token returns a function that gives the token that New would send now, for requests to Consul beside the HTTP API. It may
// be called from any goroutine.
func Token(s settings.Consul) (func() string, error) {
	environment := api.DefaultConfig()
	path := tokenPath(s, environment)
	if path == "" {
		token := s.Token.Reveal()
		if token == "" {
			token = environment.Token
		}
		return func() string { return token }, nil
	}
	file := &tokenFile{path: path}
	if _, err := file.read(); err != nil {
		return nil, fmt.Errorf("read the Consul token: %w", err)
	}
	return file.current, nil
}
