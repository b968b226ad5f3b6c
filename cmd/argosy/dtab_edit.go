package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"argosy/dtab"
	"argosy/namerd/client"
	"argosy/namerd/store"
)

type dtabEditCommand struct{ *meta }

func (c *dtabEditCommand) Synopsis() string { return "Change a table in an editor" }

func (c *dtabEditCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab edit [options] NAME

  Opens the table in the editor that VISUAL or EDITOR names, else vi, and when
  that ends shows what has changed and replaces the table. It is refused when
  the text is no table, or when somebody else has changed the table meanwhile;
  the text is then kept in a file that is named. A text that is not changed, or
  empty, changes nothing. Where agents are named it is planned first, as by
  argosy dtab update.` + agentOptions + namerdOptions + `

Options:

  -force            Ask no agent.` + writerFlags + agentFlags + `

Example:

    EDITOR=nano argosy dtab edit default`)
}

func (c *dtabEditCommand) Run(args []string) int {
	f := c.writerFlags("dtab edit")
	force := f.Bool("force", false, "")
	agents := agentFlagsOf(f.FlagSet)
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	switch {
	case !ok:
		return code
	case len(rest) != 1:
		return c.usage("dtab edit: give one name; argosy dtab list shows them")
	}
	ns := rest[0]
	var entry store.Entry
	code = c.withNamerd(f, func(ctx context.Context, n *client.Client) (err error) {
		entry, err = n.Get(ctx, ns)
		return err
	})
	if code != exitOK {
		return code
	}
	var before strings.Builder
	printTable(&before, entry)
	file, text, err := c.edited(ns, before.String())
	if err != nil {
		return c.fail(err)
	}
	keep := false
	defer func() {
		if !keep {
			os.Remove(file)
		}
	}()
	if text == before.String() || strings.TrimSpace(text) == "" {
		c.wroteNothing(f, ns)
		return exitOK
	}
	in, err := parseTable(file, text)
	if err != nil {
		keep = true
		c.badTable(f, err)
		fmt.Fprintf(c.errs, "argosy: your text is kept: correct it, and argosy dtab update %s %s\n", ns, file)
		return exitUsage
	}
	in.table = asStored(in.table)
	lines := diffTables(entry.Dtab, in.table)
	if !differ(lines) {
		c.wroteNothing(f, ns)
		return exitOK
	}
	if !f.json {
		printDiff(c.out, side{label: ns + "@" + client.EncodeVersion(entry.Version)}, side{label: "edited"}, lines)
	}
	if !*force {
		if code, stop := c.guarded(f, agents, ns, in.table); stop {
			keep = true
			fmt.Fprintf(c.errs, "argosy: your text is kept in %s\n", file)
			return code
		}
	}
	// With the version that was read, whatever has become of the line that tells it.
	code = c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		err := n.Update(ctx, ns, in.table, entry.Version)
		if err != nil {
			keep = true
			return fmt.Errorf("%w; your text is kept in %s", err, file)
		}
		return nil
	})
	switch {
	case code != exitOK:
	case f.json:
		c.json(map[string]any{"namespace": ns, "result": "updated", "changes": changesOf(lines)})
	default:
		c.wrote(f, "Updated", ns)
	}
	return code
}

// guarded is guard with a time of its own.
func (m *meta) guarded(f *namerdFlagSet, agents *agentFlagSet, ns string, table dtab.Dtab) (code int, stop bool) {
	ctx, cancel := context.WithTimeout(context.Background(), dtabTimeout)
	defer cancel()
	_, code, stop = m.guard(ctx, f, agents, ns, table)
	return code, stop
}

func (c *dtabEditCommand) wroteNothing(f *namerdFlagSet, ns string) {
	if f.json {
		c.json(map[string]any{"namespace": ns, "result": "unchanged", "changes": []tableChange{}})
		return
	}
	fmt.Fprintf(c.out, "Unchanged %s\n", ns)
}

// edited lets the user change a text in a file of its own.
func (c *dtabEditCommand) edited(ns, text string) (file, after string, err error) {
	t, err := os.CreateTemp("", "argosy-"+ns+"-*.dtab")
	if err != nil {
		return "", "", err
	}
	name := t.Name()
	defer func() {
		if err != nil {
			os.Remove(name)
		}
	}()
	_, err = t.WriteString(text)
	if err = errors.Join(err, t.Close()); err != nil {
		return "", "", err
	}
	editor := "vi"
	for _, variable := range []string{"EDITOR", "VISUAL"} {
		if e := os.Getenv(variable); e != "" {
			editor = e
		}
	}
	// The variable may hold arguments, as in EDITOR="code --wait": the shell takes it apart.
	run := exec.Command("/bin/sh", "-c", editor+` "$1"`, "sh", name)
	run.Stdin, run.Stdout, run.Stderr = c.in, os.Stdout, os.Stderr
	if err = run.Run(); err != nil {
		return "", "", fmt.Errorf("editor %q: %w; nothing was changed", editor, err)
	}
	b, err := os.ReadFile(name)
	return name, string(b), err
}
