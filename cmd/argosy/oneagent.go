package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"syscall"
	"text/tabwriter"

	"argosy/internal/fleet"
)

const oneAgentFlags = `
  -address ADDR     The admin endpoint of the agent: a URL, host:port or
                    unix:/path; else ARGOSY_ADMIN_ADDRESS, else
                    http://127.0.0.1:9990. -agent and -admin are the same.
  -token-file FILE  Send the bearer token that is in FILE;
                    else ARGOSY_ADMIN_TOKEN_FILE.
  -ca-file FILE     CA certificates (PEM) to check the agent's certificate with;
                    else ARGOSY_ADMIN_CACERT.
  -cert-file FILE   Certificate (PEM) to show to the agent, with -key-file;
                    else ARGOSY_ADMIN_CLIENT_CERT.
  -key-file FILE    Private key (PEM) of the certificate;
                    else ARGOSY_ADMIN_CLIENT_KEY.
  -json             Print JSON.`

// oneAgentFlagSet are the flags of commands that ask one agent.
type oneAgentFlagSet struct {
	*flag.FlagSet
	*adminFlags
	agent string
	json  bool
}

func (m *meta) oneAgentFlags(name string) *oneAgentFlagSet {
	f := &oneAgentFlagSet{FlagSet: m.flags(name)}
	f.adminFlags = adminFlagsOf(f.FlagSet, "")
	for _, name := range []string{"address", "agent", "admin"} {
		f.StringVar(&f.agent, name, defaultAgent(), "")
	}
	f.BoolVar(&f.json, "json", false, "")
	return f
}

// withAgent runs a command that asks an agent, and returns its exit code.
func (m *meta) withAgent(f *oneAgentFlagSet, run func(a *fleet.Fleet) error) int {
	a, err := f.fleet(f.agent)
	if err != nil {
		return m.usage("%s: %v", f.Name(), err)
	}
	defer a.Close()
	if err := run(a); err != nil {
		if f.agent == defaultAdmin && errors.Is(err, syscall.ECONNREFUSED) {
			err = fmt.Errorf("%w; -address, or ARGOSY_ADMIN_ADDRESS, says where the agent's admin endpoint is", err)
		}
		return m.fail(withAdminHint(err))
	}
	return exitOK
}

// table prints rows in columns.
func (m *meta) table(rows [][]string) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	w.Flush()
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(m.out, strings.TrimRight(line, " \n"))
	}
}
