// Command argosy is an autoscaled fleet of TCP proxies for Nomad and Consul: agent, namerd and scheduler in one binary.
//
//	argosy agent -config agent.hcl
//	argosy dtab get default
//
// Exit codes: 0 done, 1 failed, 2 wrong usage or invalid configuration.
package main

import (
	"io"
	"os"

	"github.com/hashicorp/cli"
)

// Exit codes of every subcommand.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errs io.Writer) int {
	m := &meta{
		ui:   &cli.BasicUi{Reader: in, Writer: out, ErrorWriter: errs},
		in:   in,
		out:  out,
		errs: errs,
	}
	c := cli.NewCLI("argosy", versionText())
	c.Args = args
	c.Commands = commands(m)
	c.HiddenCommands = hiddenCommands
	c.HelpFunc = groupedHelp(cli.BasicHelpFunc("argosy"))
	c.HelpWriter = out
	c.ErrorWriter = errs
	code, err := c.Run()
	if err != nil {
		m.ui.Error(err.Error())
		return exitFailed
	}
	if code == cli.RunResultHelp {
		return exitUsage
	}
	if code == 127 { // what hashicorp/cli answers to a command that it does not know
		return exitUsage
	}
	return code
}

// groupedHelp adds how to go on to the library's list of commands.
func groupedHelp(list cli.HelpFunc) cli.HelpFunc {
	return func(commands map[string]cli.CommandFactory) string {
		return list(commands) + `

Every command has -h with an example. First steps:

    argosy demo                     a whole fleet on this machine, with traffic
    argosy validate agent.hcl       check a configuration without starting
    argosy agent -config agent.hcl  run a proxy`
	}
}
