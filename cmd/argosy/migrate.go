package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/cli"

	"argosy/internal/hclx"
	"argosy/internal/linkerdtcp"
)

func migrateCommands(m *meta) map[string]cli.Command {
	return map[string]cli.Command{
		"migrate":             &migrateCommand{m},
		"migrate linkerd-tcp": &migrateLinkerdTCPCommand{m},
	}
}

type migrateCommand struct{ *meta }

func (c *migrateCommand) Synopsis() string { return "Turn another proxy's configuration into ours" }

func (c *migrateCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy migrate linkerd-tcp [options] FILE

  Turns the configuration of linkerd-tcp into that of an agent.

Example:

    argosy migrate linkerd-tcp -o agent.hcl linkerd-tcp.yml`)
}

// Run is called where no command below migrate was named.
func (c *migrateCommand) Run(args []string) int {
	if len(args) > 0 {
		return c.usage("migrate cannot read configurations of %q; it can those of linkerd-tcp", args[0])
	}
	fmt.Fprintln(c.errs, c.Help())
	return exitUsage
}

type migrateLinkerdTCPCommand struct{ *meta }

func (c *migrateLinkerdTCPCommand) Synopsis() string { return "Turn a linkerd-tcp.yml into HCL" }

func (c *migrateLinkerdTCPCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy migrate linkerd-tcp [options] FILE

  Turns the configuration of linkerd-tcp, YAML or JSON, into that of an agent,
  which has its names bound by the same namerd. FILE is - for standard input.
  The result is printed, and on standard error a line for everything that it
  lacks or does differently, with its place and with what to do instead.

Options:

  -o FILE        Write the result to FILE, which must not exist.
  -force         Replace FILE.
  -router LABEL  Take only this router. An agent asks one namerd for one
                 namespace; routers with another one need an agent each.
  -json          Print JSON: the result and the findings.

Exit codes: 0 everything is carried over, 1 something is not (the result is
there all the same), 2 no configuration of linkerd-tcp, or wrong usage.

Example:

    argosy migrate linkerd-tcp -o agent.hcl linkerd-tcp.yml
    argosy validate agent.hcl`)
}

func (c *migrateLinkerdTCPCommand) Run(args []string) int {
	f := c.flags("migrate linkerd-tcp")
	out := f.String("o", "", "")
	force := f.Bool("force", false, "")
	router := f.String("router", "", "")
	asJSON := f.Bool("json", false, "")
	rest, code, ok := c.parse(f, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) != 1 {
		return c.usage("migrate linkerd-tcp: name one file, or - for standard input")
	}
	name, text, err := c.readText(rest[0])
	if err != nil {
		fmt.Fprintf(c.errs, "argosy: migrate linkerd-tcp: %v\n", err)
		return exitUsage
	}
	result, err := linkerdtcp.Convert(name, text, linkerdtcp.Options{Router: *router})
	if err != nil {
		return c.notConverted(*asJSON, err)
	}
	if *out != "" {
		if err := writeNew(*out, result.HCL, *force); err != nil {
			return c.fail(err)
		}
	}
	lost := 0
	for _, x := range result.Findings {
		if x.Lost {
			lost++
		}
	}
	switch {
	case *asJSON:
		findings := result.Findings
		if findings == nil {
			findings = []linkerdtcp.Finding{}
		}
		c.json(map[string]any{"hcl": result.HCL, "findings": findings})
	default:
		if *out == "" {
			fmt.Fprint(c.out, result.HCL)
		}
		c.findings(name, result.Findings)
	}
	if lost > 0 {
		return exitFailed
	}
	return exitOK
}

// readText reads a file, or standard input for -.
func (m *meta) readText(file string) (name string, text []byte, err error) {
	if file == "-" {
		text, err = io.ReadAll(m.in)
		if err != nil {
			err = fmt.Errorf("read standard input: %w", err)
		}
		return "standard input", text, err
	}
	text, err = os.ReadFile(file)
	return file, text, err
}

func (c *migrateLinkerdTCPCommand) findings(name string, all []linkerdtcp.Finding) {
	for _, x := range all {
		word := "note"
		if x.Lost {
			word = "not carried over"
		}
		fmt.Fprintf(c.errs, "%s:%d:%d: %s: %s: %s\n", name, x.Line, x.Column, word, x.Key, x.Message)
		if x.Hint != "" {
			fmt.Fprintf(c.errs, "  = %s\n", x.Hint)
		}
	}
}

func (c *migrateLinkerdTCPCommand) notConverted(asJSON bool, err error) int {
	var invalid *hclx.Error
	switch {
	case !errors.As(err, &invalid):
		fmt.Fprintf(c.errs, "argosy: migrate linkerd-tcp: %v\n", err)
	case asJSON:
		c.json(map[string]any{"problems": invalid.Problems})
	default:
		return c.fail(err)
	}
	return exitUsage
}

// writeNew writes a file that must not exist, or replaces it.
func writeNew(file, text string, replace bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if replace {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(file, flags, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists; -force replaces it", file)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Close())
}
