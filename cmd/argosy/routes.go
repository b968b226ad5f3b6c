package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"argosy/agent"
	"argosy/internal/fleet"
	"argosy/internal/terminal"
	"argosy/namer"
)

type routesCommand struct{ *meta }

func (c *routesCommand) Synopsis() string { return "Show where an agent's names go, and its settings" }

func (c *routesCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy routes [options]

  Shows a running agent's listeners, and the names in use with what they stand
  for: clusters with their shares, endpoints and open connections.

  With -settings it also shows the timeouts, limits and socket settings that are
  in force, of each listener and on the way to each name, and where each comes
  from: the listener, the client block that fits, or the default.

Options:
` + strings.TrimPrefix(oneAgentFlags, "\n") + `
  -name PATH        Only this name.
  -settings         Also the settings.

Example:

    argosy routes
    argosy routes -name /svc/redis -settings`)
}

func (c *routesCommand) Run(args []string) int {
	f := c.oneAgentFlags("routes")
	name := f.String("name", "", "")
	settings := f.Bool("settings", false, "")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	switch {
	case !ok:
		return code
	case len(rest) > 0:
		return c.usage("routes: unexpected argument %q; a name is given with -name", rest[0])
	}
	return c.withAgent(f, func(a *fleet.Fleet) error {
		var info agent.RoutesInfo
		q := url.Values{}
		if *name != "" {
			q.Set("name", *name)
		}
		if err := a.Get(context.Background(), "/v1/routes", q, &info); err != nil {
			return err
		}
		if *name != "" && len(info.Destinations) == 0 {
			return fmt.Errorf("the agent does not have %s in use", *name)
		}
		if f.json {
			c.json(info)
			return nil
		}
		c.show(info, *name == "", *settings)
		return nil
	})
}

func (c *routesCommand) show(info agent.RoutesInfo, listeners, settings bool) {
	if listeners {
		rows := [][]string{{"LISTENER", "ADDRESS", "TO", "TLS", "OPEN"}}
		for _, l := range info.Listeners {
			tls := l.TLS
			if tls == "" {
				tls = "-"
			}
			rows = append(rows, []string{terminal.OneLine(l.Name), l.Address, l.Destination, tls, strconv.Itoa(l.Open)})
		}
		c.table(rows)
		fmt.Fprintln(c.out)
	}
	rows := [][]string{{"NAME", "CLUSTER", "SHARE", "STATUS", "ENDPOINTS", "OPEN"}}
	for _, d := range info.Destinations {
		if len(d.Clusters) == 0 {
			status := d.Status
			if status == namer.OK.String() {
				status = "nothing" // the table is in order, and leads nowhere
			}
			rows = append(rows, []string{d.Name, "-", "-", terminal.OneLine(strings.TrimSpace(status + " " + d.Error)), "-", "-"})
		}
		for _, k := range d.Clusters {
			open := 0
			for _, e := range k.Endpoints {
				open += e.Open
			}
			rows = append(rows, []string{
				d.Name, terminal.OneLine(k.Cluster), terminal.Percent(k.Share), k.Status, strconv.Itoa(len(k.Endpoints)), strconv.Itoa(open),
			})
		}
	}
	c.table(rows)
	if !settings {
		return
	}
	for _, l := range info.Listeners {
		if listeners {
			c.settings("Listener "+l.Name, l.Settings)
		}
	}
	for _, d := range info.Destinations {
		for _, p := range d.Paths {
			title := fmt.Sprintf("%s by listener %s", d.Name, p.Listener)
			if len(d.Paths) > 1 {
				title += " to " + strings.Join(p.Clusters, ", ")
			}
			c.settings(title, p.Settings)
		}
	}
}

// settings prints what is in force at one place.
func (c *routesCommand) settings(title string, all agent.Settings) {
	fmt.Fprintf(c.out, "\n%s\n", terminal.OneLine(title))
	rows := [][]string{{"  SETTING", "VALUE", "FROM"}}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := all[key].Value
		if value == "" {
			value = "-"
		}
		rows = append(rows, []string{"  " + key, value, terminal.OneLine(all[key].From)})
	}
	c.table(rows)
}
