package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"argosy/dtab"
	"argosy/namerd/client"
	"argosy/namerd/store"
)

type dtabListCommand struct{ *meta }

func (c *dtabListCommand) Synopsis() string { return "List the namespaces" }

func (c *dtabListCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab list [options]

  Prints the names of all tables, one per line.` + namerdOptions + `

Options:
` + namerdFlags + `

Example:

    argosy dtab list`)
}

func (c *dtabListCommand) Run(args []string) int {
	f := c.namerdFlags("dtab list")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) > 0 {
		return c.usage("dtab list: unexpected argument %q", rest[0])
	}
	return c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		names, err := n.List(ctx)
		if err != nil {
			return err
		}
		if f.json {
			c.json(names)
			return nil
		}
		for _, name := range names {
			fmt.Fprintln(c.out, name)
		}
		return nil
	})
}

type dtabGetCommand struct{ *meta }

func (c *dtabGetCommand) Synopsis() string { return "Print a table" }

func (c *dtabGetCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab get [options] NAME

  Prints a table and its version, in a form that dtab update takes: it then
  refuses to overwrite what others have changed in between.` + namerdOptions + `

Options:

  -pretty=false     Print the table on one line, without its version.` + namerdFlags + `

Example:

    argosy dtab get default`)
}

func (c *dtabGetCommand) Run(args []string) int {
	f := c.namerdFlags("dtab get")
	pretty := f.Bool("pretty", true, "")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) != 1 {
		return c.usage("dtab get: give one name; argosy dtab list shows them")
	}
	return c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		entry, err := n.Get(ctx, rest[0])
		if err != nil {
			return err
		}
		switch {
		case f.json:
			table := entry.Dtab
			if table == nil {
				table = dtab.Dtab{}
			}
			c.json(map[string]any{"version": client.EncodeVersion(entry.Version), "dtab": table})
		case *pretty:
			printTable(c.out, entry)
		default:
			for _, e := range entry.Dtab {
				fmt.Fprintf(c.out, "%s=>%s;", e.Prefix, dtab.TreeString(e.Dst))
			}
			fmt.Fprintln(c.out)
		}
		return nil
	})
}

// printTable prints as namerctl does: the version as a comment, then the entries with their arrows in one column.
func printTable(w io.Writer, e store.Entry) {
	fmt.Fprintf(w, "# version %s\n", client.EncodeVersion(e.Version))
	widest := 0
	for _, d := range e.Dtab {
		widest = max(widest, utf8.RuneCountInString(d.Prefix.String()))
	}
	for _, d := range e.Dtab {
		fmt.Fprintf(w, "%-*s => %s ;\n", widest, d.Prefix, dtab.TreeString(d.Dst))
	}
}
