package main

import "github.com/hashicorp/cli"

// hiddenCommands work, but are not for people.
var hiddenCommands = []string{}

// commands lists every subcommand.
func commands(m *meta) map[string]cli.CommandFactory {
	all := map[string]cli.Command{
		"version": &versionCommand{m},
	}
	factories := make(map[string]cli.CommandFactory, len(all))
	for name, command := range all {
		factories[name] = func() (cli.Command, error) { return command, nil }
	}
	return factories
}
