package main

import (
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"argosy/internal/fleet"
)

const oneAgentFlags = `
  -agent URL        The admin endpoint of the agent; http://127.0.0.1:9990 unless
                    given. -admin is the same.
  -json             Print JSON.`

// oneAgentFlagSet are the flags of commands that ask one agent.
type oneAgentFlagSet struct {
	*flag.FlagSet
	agent string
	json  bool
}

func (m *meta) oneAgentFlags(name string) *oneAgentFlagSet {
	f := &oneAgentFlagSet{FlagSet: m.flags(name)}
	const local = "http://127.0.0.1:9990"
	f.StringVar(&f.agent, "agent", local, "")
	f.StringVar(&f.agent, "admin", local, "")
	f.BoolVar(&f.json, "json", false, "")
	return f
}

// withAgent runs a command that asks an agent, and returns its exit code.
func (m *meta) withAgent(f *oneAgentFlagSet, run func(a *fleet.Fleet) error) int {
	a, err := fleet.New([]string{f.agent})
	if err != nil {
		return m.usage("%s: %v", f.Name(), err)
	}
	defer a.Close()
	if err := run(a); err != nil {
		return m.fail(err)
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
