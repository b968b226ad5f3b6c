package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/internal/plan"
	"argosy/namerd/client"
	"argosy/namerd/shift"
)

type dtabShiftCommand struct{ *meta }

func (c *dtabShiftCommand) Synopsis() string { return "Move a name to another step by step" }

func (c *dtabShiftCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab shift [options] NAME --to NAME

  Moves the new connections of a name from what it stands for to another name
  in weighted steps, each written by compare-and-set and watched before the
  next one. At the end the table has NAME => the other name. All other entries
  stay as they are and where they are. Open connections are not cut.

  It goes back to the table it started from when connections fail, as far as
  agents are named, when the query of -abort-on is true, when either cannot be
  told three times in a row, and when it is interrupted. When somebody else
  changes the table meanwhile it stops and leaves the table to them.

  Where a shift was stopped on the way, the same command goes on from the
  weights in the table.` + agentOptions + namerdOptions + `

Options:

  -to NAME            Where the connections are to go.
  -over TIME          For all steps together, 10m unless set.
  -steps N            1 to 100, 10 unless set.
  -namespace NAME     "default" unless set.
  -abort-on PROMQL    Go back when this is true: when its result is not empty,
                      as that of 'errors > 5'.
  -prometheus URL     Whom to ask, http://127.0.0.1:9090 unless set.
  -max-failures N     Go back when more than so many percent of the attempts to
                      connect one of the name's clusters fail in a step, and at
                      least 3; 5 unless set, 100 never.
  -check TIME         How often to look, 5s unless set.
  -keep-on-interrupt  Leave the table on the way when interrupted.
  -force              Begin even if names would be lost or nobody can tell.` + writerFlags + agentFlags + `

  With -json there is one line for each thing that happens.

Exit codes: 0 done, 1 it went back, was stopped, or somebody who is needed does
not answer, 2 wrong usage, or refused, because names would be lost, the query
is true already, or the new name leads back to the old one.

Example:

    argosy dtab shift /svc/redis --to /svc/redis2 --over 10m --steps 10 \
      -service proxy --abort-on 'sum(rate(redis_errors_total[1m])) > 5'`)
}

// shiftFlags are those of dtab shift.
type shiftFlags struct {
	*namerdFlagSet
	agents      *agentFlagSet
	namespace   string
	to, abortOn string
	prometheus  string
	over, check time.Duration
	steps       int
	failures    float64
	keep, force bool
	name        dtab.Path
	target      dtab.Path
}

func (c *dtabShiftCommand) flagsOf() *shiftFlags {
	f := &shiftFlags{namerdFlagSet: c.writerFlags("dtab shift")}
	f.agents = agentFlagsOf(f.FlagSet)
	f.StringVar(&f.namespace, "namespace", "default", "")
	f.StringVar(&f.to, "to", "", "")
	f.StringVar(&f.abortOn, "abort-on", "", "")
	f.StringVar(&f.prometheus, "prometheus", "http://127.0.0.1:9090", "")
	f.DurationVar(&f.over, "over", 10*time.Minute, "")
	f.DurationVar(&f.check, "check", 5*time.Second, "")
	f.IntVar(&f.steps, "steps", 10, "")
	f.Float64Var(&f.failures, "max-failures", 5, "")
	f.BoolVar(&f.keep, "keep-on-interrupt", false, "")
	f.BoolVar(&f.force, "force", false, "")
	return f
}

// complete checks the flags and reads the names.
func (f *shiftFlags) complete(args []string) (err error) {
	switch {
	case len(args) != 1 || f.to == "":
		return errors.New("give one name, and with --to where it is to go")
	case f.steps < 1 || f.steps > 100:
		return errors.New("-steps is 1 to 100")
	case f.over < time.Duration(f.steps)*time.Millisecond:
		return errors.New("-over is too short for so many steps")
	case f.check <= 0:
		return errors.New("-check is more than 0")
	case !(f.failures >= 0 && f.failures <= 100):
		return errors.New("-max-failures is 0 to 100 percent")
	}
	if f.name, err = dtab.ParsePath(args[0]); err != nil {
		return fmt.Errorf("the name: %w", err)
	}
	if f.target, err = dtab.ParsePath(f.to); err != nil {
		return fmt.Errorf("-to: %w", err)
	}
	return nil
}

func (c *dtabShiftCommand) Run(args []string) int {
	f := c.flagsOf()
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	if err := f.complete(rest); err != nil {
		return c.usage("dtab shift: %v", err)
	}
	n, err := f.client()
	if err != nil {
		return c.usage("dtab shift: %v", err)
	}
	defer n.Close()
	refused := exitOK
	code = c.serve(func(ctx context.Context, _ <-chan struct{}) (err error) {
		refused, err = c.shift(ctx, f, n)
		return err
	}, nil)
	if code == exitOK {
		return refused
	}
	return code
}

// shift makes sure that it may begin, and does it. It returns an exit code where it may not and has said why.
func (c *dtabShiftCommand) shift(ctx context.Context, f *shiftFlags, n *client.Client) (int, error) {
	e, err := n.Get(ctx, f.namespace)
	if err != nil {
		return exitOK, withHint(err)
	}
	split, err := shift.Find(e.Dtab, f.name, f.target)
	if err != nil {
		return c.refuse(err)
	}
	report := newShiftReport(c.meta, f, split)
	o := shift.Options{
		Store: n, Namespace: f.namespace, Name: f.name, To: f.target, Over: f.over, Steps: f.steps,
		Interval: f.check, Message: f.message, KeepOnEnd: f.keep, Report: report.event,
	}
	if !split.Done() {
		if code, err := c.mayShift(ctx, f, n, split); code != exitOK || err != nil {
			return code, err
		}
	}
	if f.abortOn != "" {
		q, err := shift.NewQuery(f.prometheus, f.abortOn)
		if err != nil {
			return exitOK, err
		}
		switch bad, _, err := q.Look(ctx); {
		case err != nil:
			return exitOK, fmt.Errorf("not begun: %w", err)
		case bad != "":
			return c.refuse(fmt.Errorf("not begun: %s", bad))
		}
		o.Checks = append(o.Checks, q)
	}
	if f.agents.configured() {
		agents, err := f.agents.find(ctx)
		if err != nil {
			return exitOK, err
		}
		defer agents.Close()
		report.failures = &shift.Failures{Traffic: agents.Traffic(f.name.String()), Most: f.failures / 100}
		o.Checks = append(o.Checks, report.failures)
	}
	report.begin()
	return exitOK, shift.Run(ctx, o)
}

// refuse reports why a shift does not begin.
func (c *dtabShiftCommand) refuse(err error) (int, error) {
	c.fail(err)
	return exitLoses, nil
}

// mayShift asks the agents first whether the end would lose anything, and whether the beginning is one: where the name
// stands for nothing without the new one, the first step would already move all. Without agents it asks the namerd.
func (c *dtabShiftCommand) mayShift(ctx context.Context, f *shiftFlags, n *client.Client, split *shift.Split) (int, error) {
	switch {
	case f.force:
		return exitOK, nil
	case !f.agents.configured():
		return c.namerdAllows(ctx, f, n)
	}
	end, code, stop := c.guard(ctx, f.namerdFlagSet, f.agents, f.namespace, split.At(100))
	if stop || end == nil {
		return code, nil
	}
	percent := max(split.Percent, shift.PercentAt(1, f.steps))
	if percent >= 100 {
		return exitOK, nil
	}
	first, err := c.plan(ctx, f.agents, f.namespace, split.At(percent), planWait)
	if err != nil {
		return exitOK, err
	}
	if share := shareOf(f.name.String(), first, end); share > float64(percent)/100+0.005 {
		return c.refuse(fmt.Errorf("not begun: with %d%% on %s agents would send it %.4g%%, because what %s stands for now has no endpoints; -force begins all the same",
			percent, f.target, 100*share, f.name))
	}
	return exitOK, nil
}

// namerdAllows refuses a shift to nowhere, as a slip of the pen makes it, where the namerd can tell: it needs namers for
// that, and knows of endpoints that the name has now.
func (c *dtabShiftCommand) namerdAllows(ctx context.Context, f *shiftFlags, n *client.Client) (int, error) {
	now, err := n.Explain(ctx, f.namespace, f.name, nil)
	if err != nil || !now.Serves() {
		return exitOK, nil
	}
	then, err := n.Explain(ctx, f.namespace, f.target, nil)
	if err != nil || then.Waiting || then.Serves() {
		return exitOK, nil
	}
	return c.refuse(fmt.Errorf("not begun: %s has endpoints now, and %s has none, as namerd sees it (argosy dtab explain %s %s); -force begins all the same",
		f.name, f.target, f.target, f.namespace))
}

// shareOf is the share that the clusters of the end have at first.
func shareOf(name string, first, end *plan.Fleet) float64 {
	then, ok := end.Name(name)
	now, ok2 := first.Name(name)
	if !ok || !ok2 {
		return 0
	}
	share, alive := 0.0, 0.0
	for _, c := range now.After {
		if c.Endpoints == 0 { // its share goes to the others
			continue
		}
		alive += c.Share
		for _, e := range then.After {
			if e.ID == c.ID {
				share += c.Share
			}
		}
	}
	if alive == 0 {
		return 0
	}
	return share / alive
}
