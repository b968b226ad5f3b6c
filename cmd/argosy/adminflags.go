package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"argosy/internal/fleet"
)

const defaultAdmin = "http://127.0.0.1:9990"

// adminFlags are how to reach the admin endpoints of agents.
type adminFlags struct{ options fleet.Options }

// adminFlagsOf adds the flags, with something before their names where a command has others of these names.
func adminFlagsOf(f *flag.FlagSet, before string) *adminFlags {
	a := &adminFlags{}
	for _, x := range []struct {
		to             *string
		name, variable string
	}{
		{&a.options.TokenFile, "token-file", "ARGOSY_ADMIN_TOKEN_FILE"}, {&a.options.CAFile, "ca-file", "ARGOSY_ADMIN_CACERT"},
		{&a.options.CertFile, "cert-file", "ARGOSY_ADMIN_CLIENT_CERT"}, {&a.options.KeyFile, "key-file", "ARGOSY_ADMIN_CLIENT_KEY"},
	} {
		f.StringVar(x.to, before+x.name, os.Getenv(x.variable), "")
	}
	return a
}

// defaultAgent is the agent to ask where no flag names one.
func defaultAgent() string {
	if address := os.Getenv("ARGOSY_ADMIN_ADDRESS"); address != "" {
		return address
	}
	return defaultAdmin
}

func (a *adminFlags) fleet(agents ...string) (*fleet.Fleet, error) {
	return fleet.New(agents, a.options)
}

// withAdminHint adds what to do next.
func withAdminHint(err error) error {
	if errors.Is(err, fleet.ErrUnauthorized) {
		return fmt.Errorf("%w; ARGOSY_ADMIN_TOKEN_FILE names a file with a token, or ARGOSY_ADMIN_CLIENT_CERT and ARGOSY_ADMIN_CLIENT_KEY a certificate", err)
	}
	return err
}
