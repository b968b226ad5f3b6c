package main

import (
	"fmt"
	"strings"

	"argosy/dtab"
	"argosy/dtab/source"
	"argosy/internal/hclx"
)

type dtabCheckCommand struct{ *meta }

func (c *dtabCheckCommand) Synopsis() string { return "Find mistakes in tables in files" }

func (c *dtabCheckCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab check [options] FILE...

  Checks that tables parse, and looks for what is likely not meant:

    shadowed   an entry that no name ever comes to, because of later ones
    duplicate  an entry that is there twice, or two entries of one prefix
    loop       names that are rewritten for ever
    weight     weights that are lost when the table is parsed or stored
    namer      names of a namer that is not there (with -namers)
    dead-end   names that no entry matches, and no namer

  Notes may well be meant; they change the exit code only with -strict. FILE is
  - for standard input.

Options:

  -namers LIST  The prefixes of all namers, with commas between them, such as
                /#/io.l5d.consul,/#/io.l5d.fs.
  -strict       Take notes for warnings.
  -json         Print JSON.

Exit codes: 0 nothing found, 1 warnings, 2 no table, or wrong usage.

Example:

    argosy dtab check -namers /#/io.l5d.consul tables/default.dtab`)
}

// finding is what check finds, as -json shows it.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Level   string `json:"level"` // warning or note
	Rule    string `json:"rule"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (c *dtabCheckCommand) Run(args []string) int {
	f := c.flags("dtab check")
	namers := f.String("namers", "", "")
	strict := f.Bool("strict", false, "")
	asJSON := f.Bool("json", false, "")
	rest, code, ok := c.parse(f, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) == 0 {
		return c.usage("dtab check: name a file, or - for standard input")
	}
	var o source.Options
	for text := range strings.SplitSeq(*namers, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := dtab.ParsePath(text)
		if err != nil || len(p) < 2 || p[0] != "#" {
			return c.usage("dtab check: -namers: %q is no prefix of a namer, such as /#/io.l5d.consul", text)
		}
		o.Namers = append(o.Namers, p)
	}
	all := []finding{}
	warned := false
	for _, file := range rest {
		name, text, parsed, err := c.readSource(file)
		if err != nil {
			return c.badSource(f.Name(), *asJSON, err)
		}
		lines := strings.Split(text, "\n")
		for _, x := range parsed.Check(o) {
			one := finding{File: name, Level: "warning", Rule: x.Rule, Message: x.Message, Hint: x.Hint}
			one.Line, one.Column = parsed.Position(x.Offset)
			if x.Note && !*strict {
				one.Level = "note"
			}
			warned = warned || one.Level == "warning"
			all = append(all, one)
			if !*asJSON {
				fmt.Fprintln(c.out, one.show(lines))
			}
		}
	}
	if *asJSON {
		c.json(all)
	}
	if warned {
		return exitFailed
	}
	return exitOK
}

// show prints a finding with its line, as mistakes in configurations are shown.
func (x finding) show(lines []string) string {
	e := hclx.Error{Problems: []hclx.Problem{{
		File: x.File, Line: x.Line, Column: x.Column, EndColumn: x.Column + 1,
		Message: fmt.Sprintf("%s: %s (%s)", x.Level, x.Message, x.Rule), Hint: x.Hint,
		Source: strings.TrimRight(lines[x.Line-1], "\r"),
	}}}
	return e.Error()
}
