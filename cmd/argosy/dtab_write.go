package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"argosy/dtab"
	"argosy/namerd/client"
	"argosy/namerd/store"
)

const tableOptions = `
  FILE holds the table: entries /prefix => /path with ; between them, as dtab
  get prints it, or the JSON of dtab get -json. - is standard input.`

// isSet reports whether a flag was given, be it empty.
func isSet(f *flag.FlagSet, name string) bool {
	set := false
	f.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// wrote says what was done.
func (m *meta) wrote(f *namerdFlagSet, action, ns string) {
	if f.json {
		m.json(map[string]string{"namespace": ns, "result": strings.ToLower(action)})
		return
	}
	fmt.Fprintf(m.out, "%s %s\n", action, ns)
}

type dtabCreateCommand struct{ *meta }

func (c *dtabCreateCommand) Synopsis() string { return "Create a table" }

func (c *dtabCreateCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab create [options] NAME FILE

  Creates a table; one of that name must not exist.
` + tableOptions + namerdOptions + `

Options:

  -dtab TEXT        The table itself, in place of FILE.` + writerFlags + `

Example:

    argosy dtab create default -dtab '/svc => /#/io.l5d.consul/dc1'`)
}

func (c *dtabCreateCommand) Run(args []string) int {
	f := c.writerFlags("dtab create")
	text := f.String("dtab", "", "")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) < 1 || len(rest) > 2 {
		return c.usage("dtab create: give a name and a file, or -dtab")
	}
	in, err := c.readTable(*text, isSet(f.FlagSet, "dtab"), rest[1:])
	if err != nil {
		return c.badTable(f, err)
	}
	return c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		if err := n.Create(ctx, rest[0], in.table); err != nil {
			return err
		}
		c.wrote(f, "Created", rest[0])
		return nil
	})
}

// badTable reports a table that cannot be sent: 2, as for wrong usage.
func (m *meta) badTable(f *namerdFlagSet, err error) int {
	fmt.Fprintf(m.errs, "argosy: %s: %v\n", f.Name(), err)
	return exitUsage
}

type dtabUpdateCommand struct{ *meta }

func (c *dtabUpdateCommand) Synopsis() string { return "Replace a table" }

func (c *dtabUpdateCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab update [options] NAME FILE

  Replaces a table that exists. It is refused when somebody else has changed
  the table meanwhile: since the version in FILE or -version, or, where there
  is none, since this command has looked a moment ago.

  Where agents are named it is planned first, as by argosy dtab plan, and
  refused with exit code 2 when a name would be lost, or with 1 when no agent
  answers. Where none are named nobody is asked.` + agentOptions + `
` + tableOptions + namerdOptions + `

Options:

  -dtab TEXT        The table itself, in place of FILE.
  -version VERSION  The version to replace, as dtab get shows it.
  -force            Replace or create, whatever there is, and ask no agent.` + writerFlags + agentFlags + `

Example:

    argosy dtab update default -dtab '/svc => /#/io.l5d.consul/dc1 ;
      /svc/redis => 9 * /svc/redis1 & 1 * /svc/redis2'`)
}

func (c *dtabUpdateCommand) Run(args []string) int {
	f := c.writerFlags("dtab update")
	text := f.String("dtab", "", "")
	version := f.String("version", "", "")
	force := f.Bool("force", false, "")
	agents := agentFlagsOf(f.FlagSet)
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) < 1 || len(rest) > 2 {
		return c.usage("dtab update: give a name and a file, or -dtab")
	}
	if *force && *version != "" {
		return c.usage("dtab update: -force and -version exclude each other")
	}
	in, err := c.readTable(*text, isSet(f.FlagSet, "dtab"), rest[1:])
	if err != nil {
		return c.badTable(f, err)
	}
	if *version != "" {
		in.version = *version
	}
	var expected store.Version
	if in.version != "" {
		if expected, err = client.DecodeVersion(in.version); err != nil {
			return c.badTable(f, err)
		}
	}
	if !*force {
		ctx, cancel := context.WithTimeout(context.Background(), dtabTimeout)
		defer cancel()
		if _, code, stop := c.guard(ctx, f, agents, rest[0], in.table); stop {
			return code
		}
	}
	return c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		if err := update(ctx, n, rest[0], in.table, expected, *force); err != nil {
			return err
		}
		c.wrote(f, "Updated", rest[0])
		return nil
	})
}

// update replaces the table of a version, or where none is known of the version that is there now.
func update(ctx context.Context, s store.Store, ns string, table dtab.Dtab, v store.Version, force bool) error {
	if force {
		return s.Put(ctx, ns, table)
	}
	if v == "" {
		entry, err := s.Get(ctx, ns)
		if err != nil {
			return err
		}
		v = entry.Version
	}
	return s.Update(ctx, ns, table, v)
}

type dtabDeleteCommand struct{ *meta }

func (c *dtabDeleteCommand) Synopsis() string { return "Delete a table" }

func (c *dtabDeleteCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab delete [options] NAME

  Deletes a table. Names that agents look up in it are then nothing. Where
  agents are named it is planned first, as by argosy dtab update. A namerd that
  keeps a history can bring it back: argosy dtab rollback.` + agentOptions + namerdOptions + `

Options:

  -force            Ask no agent.` + writerFlags + agentFlags + `

Example:

    argosy dtab delete blue`)
}

func (c *dtabDeleteCommand) Run(args []string) int {
	f := c.writerFlags("dtab delete")
	force := f.Bool("force", false, "")
	agents := agentFlagsOf(f.FlagSet)
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) != 1 {
		return c.usage("dtab delete: give one name")
	}
	if !*force {
		ctx, cancel := context.WithTimeout(context.Background(), dtabTimeout)
		defer cancel()
		if _, code, stop := c.guard(ctx, f, agents, rest[0], nil); stop {
			return code
		}
	}
	return c.withNamerd(f, func(ctx context.Context, n *client.Client) error {
		if err := n.Delete(ctx, rest[0]); err != nil {
			return err
		}
		c.wrote(f, "Deleted", rest[0])
		return nil
	})
}
