package main

import "github.com/hashicorp/cli"

// hiddenCommands work, but are not for people.
var hiddenCommands = []string{"demo-child"}

// commands lists every subcommand.
func commands(m *meta) map[string]cli.CommandFactory {
	all := map[string]cli.Command{
		"agent":      &agentCommand{m},
		"demo":       &demoCommand{m},
		"demo-child": &demoChildCommand{m},
		"dev":        &devCommand{m},
		"scheduler":  &schedulerCommand{m},
		"version":    &versionCommand{m},
	}
	factories := make(map[string]cli.CommandFactory, len(all))
	for name, command := range all {
		factories[name] = func() (cli.Command, error) { return command, nil }
	}
	return factories
}
