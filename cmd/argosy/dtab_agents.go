package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"argosy/internal/fleet"
	"argosy/internal/settings"
	"argosy/scheduler/discovery"
)

const agentFlags = `
  -agent URL        The admin endpoint of an agent to ask. Repeatable.
  -service NAME     Ask the agents that Consul's catalog has under this name.
                    Repeatable; Consul is where CONSUL_HTTP_ADDR says.` + agentDoorFlags

const agentDoorFlags = `
  -agent-token-file, -agent-ca-file, -agent-cert-file, -agent-key-file FILE
                    For agents that want a token or a certificate; else
                    ARGOSY_ADMIN_TOKEN_FILE, ARGOSY_ADMIN_CACERT,
                    ARGOSY_ADMIN_CLIENT_CERT and ARGOSY_ADMIN_CLIENT_KEY.`

const agentOptions = `

  The agents are those of -agent and -service; without these, those that the
  environment variable ARGOSY_AGENTS lists, with commas between them.`

// agentFlagSet are the flags that say which agents there are.
type agentFlagSet struct {
	*adminFlags
	agents, services list
}

func agentFlagsOf(f *flag.FlagSet) *agentFlagSet {
	a := &agentFlagSet{adminFlags: adminFlagsOf(f, "agent-")}
	f.Var(&a.agents, "agent", "")
	f.Var(&a.services, "service", "")
	return a
}

// errNoAgents says that the user has named none.
var errNoAgents = errors.New("no agents are known: name them with -agent URL, -service NAME or ARGOSY_AGENTS")

// configured reports whether the user has named agents.
func (f *agentFlagSet) configured() bool {
	return len(f.agents)+len(f.services) > 0 || strings.Trim(os.Getenv("ARGOSY_AGENTS"), ", ") != ""
}

// find finds the agents.
func (f *agentFlagSet) find(ctx context.Context) (*fleet.Fleet, error) {
	if !f.configured() {
		return nil, errNoAgents
	}
	agents := append(list{}, f.agents...)
	if len(f.agents)+len(f.services) == 0 {
		for a := range strings.SplitSeq(os.Getenv("ARGOSY_AGENTS"), ",") {
			if a = strings.TrimSpace(a); a != "" {
				agents = append(agents, a)
			}
		}
	}
	if len(f.services) > 0 {
		found, err := discovery.Find(ctx, settings.Consul{}, f.services)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no agent is registered in Consul as %s", strings.Join(f.services, " or "))
		}
		agents = append(agents, found...)
	}
	return f.fleet(agents...)
}
