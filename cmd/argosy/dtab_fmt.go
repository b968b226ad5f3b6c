package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/cli"

	"argosy/dtab/source"
	"argosy/internal/hclx"
)

// dtabTextCommands are the commands that look at files and need no namerd, and those that edit and compare.
func dtabTextCommands(m *meta) map[string]cli.Command {
	return map[string]cli.Command{
		"dtab fmt":   &dtabFmtCommand{m},
		"dtab check": &dtabCheckCommand{m},
		"dtab diff":  &dtabDiffCommand{m},
		"dtab edit":  &dtabEditCommand{m},
	}
}

type dtabFmtCommand struct{ *meta }

func (c *dtabFmtCommand) Synopsis() string { return "Format tables in files" }

func (c *dtabFmtCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab fmt [options] FILE...

  Prints tables with an entry on each line and the arrows in one column.
  Comments, blank lines and line ends inside of destinations stay, and the
  table stays the same. FILE is - for standard input.

Options:

  -w      Write the result to the files.
  -check  Print the names of files that are not formatted, change nothing, and
          exit with 1 if there are any.
  -json   Print JSON.

Exit codes: 0 formatted, 1 not formatted (-check), 2 no table, or wrong usage.

Example:

    argosy dtab fmt -w tables/*.dtab`)
}

// formatted is a file as -json shows it.
type formatted struct {
	File    string `json:"file"`
	Changed bool   `json:"changed"`
	Text    string `json:"text,omitempty"` // where it is not written
}

func (c *dtabFmtCommand) Run(args []string) int {
	f := c.flags("dtab fmt")
	write := f.Bool("w", false, "")
	check := f.Bool("check", false, "")
	asJSON := f.Bool("json", false, "")
	rest, code, ok := c.parse(f, args, c.Help)
	switch {
	case !ok:
		return code
	case len(rest) == 0:
		return c.usage("dtab fmt: name a file, or - for standard input")
	case *write && *check:
		return c.usage("dtab fmt: -w and -check exclude each other")
	}
	all := []formatted{}
	changed := false
	for _, file := range rest {
		if file == "-" && *write {
			return c.usage("dtab fmt: standard input cannot be written with -w")
		}
		name, text, parsed, err := c.readSource(file)
		if err != nil {
			return c.badSource(f.Name(), *asJSON, err)
		}
		one := formatted{File: name, Text: parsed.Format()}
		one.Changed = one.Text != text
		changed = changed || one.Changed
		switch {
		case *write && one.Changed:
			if err := rewrite(file, one.Text); err != nil {
				return c.fail(err)
			}
		case *check && one.Changed && !*asJSON:
			fmt.Fprintln(c.out, name)
		case !*write && !*check && !*asJSON:
			fmt.Fprint(c.out, one.Text)
		}
		if *write || *check {
			one.Text = ""
		}
		all = append(all, one)
	}
	if *asJSON {
		c.json(all)
	}
	if *check && changed {
		return exitFailed
	}
	return exitOK
}

// readSource reads a file with a table in the language itself, or standard input for -.
func (m *meta) readSource(file string) (name, text string, parsed *source.File, err error) {
	name, content, err := m.readText(file)
	if err != nil {
		return name, "", nil, err
	}
	text = string(content)
	if t := strings.TrimSpace(text); strings.HasPrefix(t, "[") || strings.HasPrefix(t, "{") {
		return name, text, nil, fmt.Errorf("%s is JSON, which has no lines to speak of: write the table as entries /prefix => /path ;", name)
	}
	if _, err := hclx.ParseDtab(name, text); err != nil { // shows the place
		return name, text, nil, err
	}
	parsed, err = source.Parse(text)
	return name, text, parsed, err
}

// badSource reports a text that is no table.
func (m *meta) badSource(command string, asJSON bool, err error) int {
	if asJSON {
		m.json(map[string]any{"error": err.Error()})
		return exitUsage
	}
	fmt.Fprintf(m.errs, "argosy: %s: %v\n", command, err)
	return exitUsage
}

// rewrite replaces the text of a file in place, so that its owner, its mode and what links to it stay.
func rewrite(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
