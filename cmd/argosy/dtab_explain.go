package main

import (
	"context"
	"fmt"
	"strings"

	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/namerd/client"
)

type dtabExplainCommand struct{ *meta }

func (c *dtabExplainCommand) Synopsis() string { return "Show why a name goes where it goes" }

func (c *dtabExplainCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab explain [options] NAME [NAMESPACE]
       argosy dtab explain [options] -agent URL -connection ID

  Shows the whole delegation of a name as a tree: every entry that matches,
  with its number in the table; every rewrite; every concrete name with its
  state, for how long it has been so, its endpoints, and its share of the
  connections; and what is not taken, and why. The namespace is "default"
  unless given.

  It is namerd's view. With -agent it is that of a running agent, together
  with what the agent's balancer does now.` + namerdOptions + `

Options:

  -dtab TEXT        Entries behind the table, for this question only.
  -agent URL        Ask the agent with this admin endpoint instead.` + agentDoorFlags + `
  -connection ID    Start from a live connection of the agent: where it went, and
                    where its name goes now.` + namerdFlags + `

Colours are only used on a terminal, and not where NO_COLOR is set.

Example:

    argosy dtab explain /svc/redis
    argosy dtab explain /svc/redis -dtab '/svc/redis => /svc/redis2'
    argosy dtab explain /svc/redis -agent http://127.0.0.1:9990`)
}

func (c *dtabExplainCommand) Run(args []string) int {
	f := c.namerdFlags("dtab explain")
	text := f.String("dtab", "", "")
	agent := f.String("agent", "", "")
	admin := adminFlagsOf(f.FlagSet, "agent-")
	connection := f.String("connection", "", "")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	in := input{}
	var err error
	if *text != "" {
		if in, err = parseTable("-dtab", *text); err != nil {
			return c.badTable(f, err)
		}
	}
	if *connection != "" && (*agent == "" || len(rest) > 0) {
		return c.usage("dtab explain: -connection goes with -agent, and without a name")
	}
	if *connection != "" {
		return c.askAgent(f, admin, *agent, "", *connection, in.table)
	}
	if len(rest) < 1 || len(rest) > 2 {
		return c.usage("dtab explain: give a name such as /svc/redis, and perhaps a namespace")
	}
	name, err := dtab.ParsePath(rest[0])
	if err != nil {
		return c.badTable(f, fmt.Errorf("the name: %w", err))
	}
	ns := "default"
	if len(rest) == 2 {
		ns = rest[1]
	}
	switch {
	case *agent != "" && len(rest) == 2:
		return c.usage("dtab explain: an agent has one table: give no namespace with -agent")
	case *agent != "":
		return c.askAgent(f, admin, *agent, name.String(), "", in.table)
	}
	return c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		x, err := n.Explain(ctx, ns, name, in.table)
		if err != nil {
			return err
		}
		return c.show(f, x)
	})
}

// askAgent asks an agent for a name, or for the name of a connection.
func (c *dtabExplainCommand) askAgent(f *namerdFlagSet, admin *adminFlags, agent, name, connection string, local dtab.Dtab) int {
	agents, err := admin.fleet(agent)
	if err != nil {
		return c.usage("dtab explain: %v", err)
	}
	defer agents.Close()
	x, err := agents.Explain(context.Background(), name, connection, local.String())
	if err == nil {
		err = c.show(f, x)
	}
	if err != nil {
		return c.fail(withAdminHint(err))
	}
	return exitOK
}

// show prints an explanation.
func (c *dtabExplainCommand) show(f *namerdFlagSet, x *explanation.Explanation) error {
	if f.json {
		c.json(x)
		return nil
	}
	return explanation.Draw(c.out, x, c.style())
}
