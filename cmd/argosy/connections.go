package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"argosy/agent"
	"argosy/internal/fleet"
	"argosy/internal/terminal"
)

type connectionsCommand struct{ *meta }

func (c *connectionsCommand) Synopsis() string {
	return "List the connections of an agent, or close some"
}

func (c *connectionsCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy connections [options]

  Lists the live connections of a running agent, the oldest first: since when,
  how long nothing has moved, who, where to, and how many bytes in from the
  client and out to it. PEER is what clients have proved to be by their
  certificates; (denied) stands where one may not connect any more, and -json
  says why. With -close it ends them.

Options:
` + strings.TrimPrefix(oneAgentFlags, "\n") + `
  -listener NAME    Only those that came in there.
  -name PATH        Only those to this name, or to one below it.
  -cluster PATH     Only those to this cluster, or to one below it.
  -endpoint ADDR    Only those to this endpoint.
  -client ADDR      Only those from this IP address, network such as 10.0.0.0/8,
                    or unix.
  -peer NAME        Only those of clients that have proved to be this.
  -phase PHASE      routing, connecting or open.
  -min-age TIME     Only those that are at least so old, such as 90s or 5m.
  -quiet TIME       Only those over which nothing has moved for so long.
  -limit N          At most so many; 1000 unless given.
  -close ID|all     Close this connection, or all that the options above choose:
                    at least one beside -limit, which then is none unless given.
  -rate N           With -close all: so many per second; 100 unless given.

Example:

    argosy connections -listener redis -quiet 10m
    argosy connections -close 4711
    argosy connections -endpoint 10.0.0.7:6379 -close all -rate 20`)
}

const mostShown = 1000

func (c *connectionsCommand) Run(args []string) int {
	f := c.oneAgentFlags("connections")
	filters := map[string]*string{}
	for _, key := range []string{"listener", "name", "cluster", "endpoint", "client", "peer", "phase", "min_age", "quiet", "limit", "rate"} {
		filters[key] = f.String(strings.ReplaceAll(key, "_", "-"), "", "")
	}
	toClose := f.String("close", "", "")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	q := url.Values{}
	for key, value := range filters {
		if *value != "" {
			q.Set(key, *value)
		}
	}
	switch {
	case len(rest) > 0:
		return c.usage("connections: unexpected argument %q", rest[0])
	case q.Has("rate") && *toClose != "all":
		return c.usage("connections: -rate goes with -close all")
	case *toClose == "all":
		return c.close(f, "/v1/connections", q)
	case *toClose != "":
		if _, err := strconv.ParseUint(*toClose, 10, 64); err != nil || len(q) > 0 {
			return c.usage("connections: -close takes an id and no filter, or all and a filter")
		}
		return c.close(f, "/v1/connections/"+*toClose, nil)
	}
	return c.list(f, q)
}

func (c *connectionsCommand) close(f *oneAgentFlagSet, path string, q url.Values) int {
	return c.withAgent(f, func(a *fleet.Fleet) error {
		var answer struct {
			Closed int `json:"closed"`
		}
		if err := a.Delete(context.Background(), path, q, &answer); err != nil {
			return err
		}
		if f.json {
			c.json(answer)
			return nil
		}
		fmt.Fprintln(c.out, terminal.Count(answer.Closed, "connection")+" closed")
		return nil
	})
}

func (c *connectionsCommand) list(f *oneAgentFlagSet, q url.Values) int {
	most := mostShown
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return c.usage("connections: -limit %q: must be a number from 1", text)
		}
		most = n
	}
	q.Set("limit", strconv.Itoa(most+1)) // tells whether there are more
	return c.withAgent(f, func(a *fleet.Fleet) error {
		var all []agent.ConnectionInfo
		if err := a.Get(context.Background(), "/v1/connections", q, &all); err != nil {
			return err
		}
		more := len(all) > most
		all = all[:min(len(all), most)]
		if f.json {
			c.json(all)
			return nil
		}
		peers := slices.ContainsFunc(all, func(i agent.ConnectionInfo) bool { return i.Peer != "" })
		header := []string{"ID", "AGE", "QUIET", "LISTENER", "CLIENT", "NAME", "ENDPOINT", "IN", "OUT"}
		if peers {
			header = slices.Insert(header, peerColumn, "PEER")
		}
		rows := [][]string{header}
		for _, i := range all {
			rows = append(rows, connectionRow(i, peers))
		}
		c.table(rows)
		if more {
			fmt.Fprintf(c.errs, "argosy: there are more than %d: see -limit\n", most)
		}
		return nil
	})
}

// peerColumn is where it says who clients have proved to be, if any has.
const peerColumn = 5

// connectionRow keeps the table within 120 columns.
func connectionRow(i agent.ConnectionInfo, peers bool) []string {
	quiet, endpoint := "-", i.Endpoint
	if i.Quiet != nil {
		quiet = age(*i.Quiet)
	}
	switch {
	case i.Phase != "open":
		endpoint = "(" + i.Phase + ")"
	case i.Denied != "": // and open all the same
		endpoint = "(denied) " + endpoint
	case i.Draining:
		endpoint += " leaves"
	}
	clip := func(text string, width int) string { return terminal.Clip(terminal.OneLine(text), width) }
	listener, name := 12, 20
	if peers {
		listener, name = 10, 14
	}
	row := []string{
		strconv.FormatUint(i.ID, 10), age(i.Age), quiet, clip(i.Listener, listener), clip(i.Client, 21), clip(i.Name, name),
		clip(endpoint, 22), terminal.Bytes(i.In), terminal.Bytes(i.Out),
	}
	if peers {
		peer := "-"
		if i.Peer != "" {
			peer = clip(i.Peer, 10)
		}
		row = slices.Insert(row, peerColumn, peer)
	}
	return row
}

func age(seconds float64) string { return terminal.Age(time.Duration(seconds * float64(time.Second))) }
