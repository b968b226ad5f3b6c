package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/cli"

	"argosy/dtab"
	"argosy/internal/terminal"
	"argosy/namerd/client"
	"argosy/namerd/store"
)

func dtabHistoryCommands(m *meta) map[string]cli.Command {
	return map[string]cli.Command{
		"dtab history":  &dtabHistoryCommand{m},
		"dtab rollback": &dtabRollbackCommand{m},
	}
}

type dtabHistoryCommand struct{ *meta }

func (c *dtabHistoryCommand) Synopsis() string { return "Show who has changed a table, when and how" }

func (c *dtabHistoryCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab history [options] NAME

  Shows the changes of a table, the newest first. A name with a question mark
  is only what the changer said; others were proved by a token or certificate.
  Namerd 1.x keeps no history.` + namerdOptions + `

Options:

  -limit N          At most so many changes: 20 unless set, 0 for all.
  -diff             Show for each change what it has changed.` + namerdFlags + `

Example:

    argosy dtab history -diff -limit 3 default`)
}

// changeInfo is a change as -json shows it.
type changeInfo struct {
	Version  string        `json:"version"`
	Time     time.Time     `json:"time"`
	Action   string        `json:"action"`
	By       string        `json:"by"`
	Verified bool          `json:"verified"`
	Address  string        `json:"address"`
	Message  string        `json:"message"`
	Exists   bool          `json:"exists"`
	Dtab     dtab.Dtab     `json:"dtab"`
	Changes  []tableChange `json:"changes,omitempty"` // with -diff
}

func (c *dtabHistoryCommand) Run(args []string) int {
	f := c.namerdFlags("dtab history")
	limit := f.Int("limit", 20, "")
	diff := f.Bool("diff", false, "")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	switch {
	case !ok:
		return code
	case len(rest) != 1:
		return c.usage("dtab history: give one name; argosy dtab list shows them")
	case *limit < 0:
		return c.usage("dtab history: -limit is a number of changes, or 0 for all")
	}
	return c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		asked := *limit
		if *diff && asked > 0 {
			asked++ // the first one shown differs from the one before
		}
		changes, err := n.History(ctx, rest[0], asked)
		if err != nil {
			return err
		}
		shown := changes
		if *limit > 0 {
			shown = changes[:min(*limit, len(changes))]
		}
		if f.json {
			c.json(changeInfos(shown, changes, *diff))
			return nil
		}
		c.changes(shown, changes, *diff)
		return nil
	})
}

func changeInfos(shown, all []store.Change, diff bool) []changeInfo {
	infos := []changeInfo{}
	for i, x := range shown {
		table := x.Dtab
		if table == nil {
			table = dtab.Dtab{}
		}
		one := changeInfo{
			Version: client.EncodeVersion(x.Version), Time: x.At, Action: x.Action, By: x.Author.Name, Verified: x.Author.Verified,
			Address: x.Author.Address, Message: x.Author.Message, Exists: x.Exists, Dtab: table,
		}
		if diff {
			one.Changes = changesOf(diffTables(before(all, i), x.Dtab))
		}
		infos = append(infos, one)
	}
	return infos
}

// before is the table before the i-th newest change, empty where nothing is known of it.
func before(all []store.Change, i int) dtab.Dtab {
	if i+1 < len(all) {
		return all[i+1].Dtab
	}
	return nil
}

// changes prints the history as a table, with what each change has changed below it.
func (c *dtabHistoryCommand) changes(shown, all []store.Change, diff bool) {
	var rows strings.Builder
	w := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	row := func(columns ...string) { fmt.Fprintln(w, strings.Join(columns, "\t")) }
	row("VERSION", "TIME", "ACTION", "ENTRIES", "BY", "MESSAGE")
	for _, x := range shown {
		by := x.Author.Name
		switch {
		case by == "":
			by = x.Author.Address
		case !x.Author.Verified:
			by += "?"
		}
		entries := "-"
		if x.Exists {
			entries = fmt.Sprint(len(x.Dtab))
		}
		row(client.EncodeVersion(x.Version), x.At.UTC().Format("2006-01-02 15:04:05Z"), x.Action, entries, terminal.OneLine(by), terminal.OneLine(x.Author.Message))
	}
	w.Flush()
	for i, line := range strings.Split(strings.TrimSuffix(rows.String(), "\n"), "\n") {
		fmt.Fprintln(c.out, strings.TrimRight(line, " "))
		if i == 0 || !diff {
			continue
		}
		for _, l := range diffTables(before(all, i-1), shown[i-1].Dtab) {
			if l.sign != ' ' {
				fmt.Fprintf(c.out, "  %c %s => %s ;\n", l.sign, l.entry.Prefix, dtab.TreeString(l.entry.Dst))
			}
		}
	}
}

type dtabRollbackCommand struct{ *meta }

func (c *dtabRollbackCommand) Synopsis() string { return "Bring back an earlier version of a table" }

func (c *dtabRollbackCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab rollback [options] NAME VERSION
       argosy dtab rollback [options] NAME@VERSION

  Writes the table of an earlier version again, as a new version, and shows
  what that changes. VERSION is as dtab history shows it; NAME@-1 is the
  version before the one of now. It is refused when somebody else changes the
  table meanwhile. Namerd 1.x keeps no history. Where agents are named it is
  planned first, as by argosy dtab update. A table that cannot be read, because
  somebody has put what is none in its place, is replaced.` + agentOptions + namerdOptions + `

Options:

  -dry-run          Only show what it would change.
  -force            Ask no agent.` + writerFlags + agentFlags + `

Example:

    argosy dtab history default
    argosy dtab rollback default AAAAAAAAAAE=
    argosy dtab rollback default@-1`)
}

func (c *dtabRollbackCommand) Run(args []string) int {
	f := c.writerFlags("dtab rollback")
	dry := f.Bool("dry-run", false, "")
	force := f.Bool("force", false, "")
	agents := agentFlagsOf(f.FlagSet)
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	switch {
	case !ok:
		return code
	case len(rest) == 1 && strings.Contains(rest[0], "@"): // as dtab diff has it
		ns, version, _ := strings.Cut(rest[0], "@")
		rest = []string{ns, version}
	case len(rest) != 2:
		return c.usage("dtab rollback: give a name and a version; argosy dtab history shows them")
	}
	ns, version := rest[0], rest[1]
	if !strings.HasPrefix(version, "-") {
		if _, err := client.DecodeVersion(version); err != nil {
			return c.badTable(f, err)
		}
	}
	stopped := exitOK
	code = c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		now, unreadable := current(ctx, n, ns)
		if unreadable != nil && !errors.Is(unreadable, client.ErrTrouble) {
			return unreadable
		}
		target, err := findChangeBefore(ctx, n, ns, version, unreadable == nil)
		if err != nil {
			return err
		}
		version := client.EncodeVersion(target.Version)
		if !target.Exists {
			return fmt.Errorf("%s@%s is a deletion; argosy dtab delete %s does that", ns, version, ns)
		}
		before := side{label: ns + "@" + client.EncodeVersion(now.Version)}
		switch {
		case unreadable != nil:
			before.label = ns + ", which cannot be read"
			fmt.Fprintf(c.errs, "argosy: warning: what is there now is replaced: %v\n", unreadable)
		case now.Version == "":
			before.label = ns + ", which was deleted"
		}
		lines := diffTables(now.Dtab, target.Dtab)
		if !*dry && !*force {
			var stop bool
			if _, stopped, stop = c.guard(ctx, f, agents, ns, target.Dtab); stop {
				return nil
			}
		}
		if !*dry {
			if err := n.Rollback(ctx, ns, target.Version, now.Version); err != nil {
				return err
			}
		}
		if f.json {
			action := "rolled back"
			if *dry {
				action = "nothing"
			}
			c.json(map[string]any{"namespace": ns, "result": action, "version": version, "changes": changesOf(lines)})
			return nil
		}
		printDiff(c.out, before, side{label: ns + "@" + version}, lines)
		if !*dry {
			fmt.Fprintf(c.out, "Rolled back %s to %s\n", ns, version)
		}
		return nil
	})
	return max(code, stopped)
}

// current is the table of now; empty, without a version, where it was deleted.
func current(ctx context.Context, n *client.Client, ns string) (store.Entry, error) {
	e, err := n.Get(ctx, ns)
	if errors.Is(err, store.ErrMissing) {
		return store.Entry{}, nil
	}
	return e, err
}
