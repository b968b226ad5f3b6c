package main

import (
	"maps"

	"github.com/hashicorp/cli"
)

// hiddenCommands work, but are not for people.
var hiddenCommands = append([]string{"demo-child"}, dtabAliases...)

// commands lists every subcommand.
func commands(m *meta) map[string]cli.CommandFactory {
	all := map[string]cli.Command{
		"agent":       &agentCommand{m},
		"connections": &connectionsCommand{m},
		"demo":        &demoCommand{m},
		"demo-child":  &demoChildCommand{m},
		"dev":         &devCommand{m},
		"namerd":      &namerdCommand{m},
		"routes":      &routesCommand{m},
		"scheduler":   &schedulerCommand{m},
		"validate":    &validateCommand{m},
		"version":     &versionCommand{m},
	}
	maps.Copy(all, dtabCommands(m))
	maps.Copy(all, dtabTextCommands(m))
	maps.Copy(all, dtabHistoryCommands(m))
	maps.Copy(all, migrateCommands(m))
	factories := make(map[string]cli.CommandFactory, len(all))
	for name, command := range all {
		factories[name] = func() (cli.Command, error) { return command, nil }
	}
	return factories
}
