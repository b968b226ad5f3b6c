package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/internal/plan"
)

// exitLoses is the exit code of a plan, and of an update that is not made, because something would be lost.
const exitLoses = 2

type dtabPlanCommand struct{ *meta }

func (c *dtabPlanCommand) Synopsis() string {
	return "Show what a table would change before it is stored"
}

func (c *dtabPlanCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab plan [options] FILE

  Asks agents what a table would change for the names and connections that
  they have now: which names would bind elsewhere, how many open connections
  that touches, and which names would be lost. Nothing is changed. Each agent
  judges with its own namers and its own view of the catalog.` + agentOptions + `
` + tableOptions + `

Options:

  -namespace NAME   The namespace that the table is for, "default" unless set.
                    Agents that use another one are not counted.
  -dtab TEXT        The table itself, in place of FILE.
  -wait TIME        For what agents do not know yet, 5s unless set, 30s at most.
  -json             Print JSON.` + agentFlags + `

Exit codes: 0 nothing would be lost, 2 something would be lost or wrong usage,
1 it cannot be told, because no agent answers or names are not known in time.

Example:

    argosy dtab plan default.dtab -agent http://127.0.0.1:9990
    argosy dtab plan default.dtab -service proxy && argosy dtab update default default.dtab`)
}

func (c *dtabPlanCommand) Run(args []string) int {
	f := &namerdFlagSet{FlagSet: c.flags("dtab plan")} // of these only -json: no namerd is asked
	f.BoolVar(&f.json, "json", false, "")
	agents := agentFlagsOf(f.FlagSet)
	text := f.String("dtab", "", "")
	namespace := f.String("namespace", "default", "")
	wait := f.Duration("wait", planWait, "")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	switch {
	case !ok:
		return code
	case len(rest) > 1:
		return c.usage("dtab plan: give one file, or -dtab")
	case *wait <= 0 || *wait > 30*time.Second:
		return c.usage("dtab plan: -wait is more than 0 and at most 30s")
	}
	in, err := c.readTable(*text, isSet(f.FlagSet, "dtab"), rest)
	if err != nil {
		return c.badTable(f, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), dtabTimeout+*wait)
	defer cancel()
	p, err := c.plan(ctx, agents, *namespace, in.table, *wait)
	switch {
	case err != nil:
		return c.fail(err)
	case f.json:
		c.json(p)
	default:
		if err := plan.Draw(c.out, p, c.style().Colour); err != nil {
			return c.fail(err)
		}
	}
	switch {
	case len(p.With(plan.Lost)) > 0:
		return exitLoses
	case p.Counted() == 0:
		if f.json { // else it is in the picture
			fmt.Fprintln(c.errs, "argosy: nothing is known: no agent that uses this namespace could be asked")
		}
		return exitFailed
	case len(p.With(plan.Unknown)) > 0:
		return exitFailed
	}
	c.warnSilent(p)
	return exitOK
}

const planWait = 5 * time.Second

// plan asks the agents about a table.
func (m *meta) plan(ctx context.Context, agents *agentFlagSet, ns string, table dtab.Dtab, wait time.Duration) (*plan.Fleet, error) {
	fleet, err := agents.find(ctx)
	if err != nil {
		return nil, err
	}
	defer fleet.Close()
	return fleet.Plan(ctx, ns, table, wait), nil
}

// warnSilent tells that a plan may have missed something.
func (m *meta) warnSilent(p *plan.Fleet) {
	if n := len(p.Silent()); n > 0 {
		fmt.Fprintf(m.errs, "argosy: warning: %d of %d agents do not answer; what only they use is not known\n", n, len(p.Agents))
	}
}

// guard plans before a table is stored, or deleted, where the user has named agents. It returns an exit code when nothing
// is to be changed.
func (m *meta) guard(ctx context.Context, f *namerdFlagSet, agents *agentFlagSet, ns string, table dtab.Dtab) (p *plan.Fleet, code int, stop bool) {
	if !agents.configured() {
		return nil, exitOK, false
	}
	p, err := m.plan(ctx, agents, ns, table, planWait)
	switch {
	case err != nil:
		return nil, m.fail(fmt.Errorf("nothing changed, cannot tell what would be lost: %w; -force asks no agent", err)), true
	case len(p.With(plan.Lost)) > 0:
		if f.json {
			m.json(map[string]any{"namespace": ns, "result": "refused", "plan": p})
		} else if err := plan.Draw(m.errs, p, false); err != nil {
			return nil, m.fail(err), true
		}
		fmt.Fprintln(m.errs, "argosy: nothing changed: something would be lost; -force does it all the same")
		return p, exitLoses, true
	case p.Counted() == 0 && len(p.Silent()) > 0:
		return p, m.fail(fmt.Errorf("nothing changed, cannot tell what would be lost: agent at %s %s; -force asks no agent",
			p.Silent()[0].URL, p.Silent()[0].Error)), true
	}
	m.warnSilent(p)
	if p.Counted() == 0 {
		fmt.Fprintf(m.errs, "argosy: warning: none of the agents asked uses namespace %s: nothing was planned\n", ns)
	}
	for _, n := range p.With(plan.Unknown) {
		fmt.Fprintf(m.errs, "argosy: warning: it is not known in time whether %s would be lost\n", n.Name)
	}
	return p, exitOK, false
}
