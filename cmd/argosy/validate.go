package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	agentconfig "argosy/agent/config"
	"argosy/internal/hclx"
	namerdconfig "argosy/namerd/config"
	schedulerconfig "argosy/scheduler/config"
)

type validateCommand struct{ *meta }

func (c *validateCommand) Synopsis() string { return "Check a configuration without starting anything" }

func (c *validateCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy validate [options] FILE|DIR...

  Checks the configuration of an agent, a namerd or a scheduler as starting it
  would: syntax, keys, types, names, ports, files and environment variables.
  Several files and directories are one configuration, as with -config. Every
  mistake is shown with its line and with what would be right.

Options:

  -kind KIND  agent, namerd or scheduler; without it the blocks tell.
  -acl        Print the Consul ACL policy that exactly this configuration needs.
  -json       Print JSON.

Exit codes: 0 valid, 2 invalid or wrong usage.

Example:

    argosy validate hcl/agent-minimal.hcl
    argosy validate -acl agent.hcl | consul acl policy create -name agent -rules -`)
}

// kinds of configurations, each with the blocks that no other kind has.
type configKind struct {
	name string
	own  []string
	load func(paths []string) (summary string, needs rights, err error)
}

func configKinds() []configKind {
	return []configKind{
		{"agent", []string{"access_log", "admin", "client", "drain", "dtab", "interpreter", "listener", "register", "relay"}, func(paths []string) (string, rights, error) {
			c, err := agentconfig.Load(paths)
			if err != nil {
				return "", rights{}, err
			}
			return fmt.Sprintf("%s; listeners: %d, namers: %d, clients: %d", c.Name, len(c.Listeners), len(c.Namers), len(c.Clients)), agentRights(c), nil
		}},
		{"namerd", []string{"binding", "history", "store"}, func(paths []string) (string, rights, error) {
			c, err := namerdconfig.Load(paths)
			if err != nil {
				return "", rights{}, err
			}
			return fmt.Sprintf("%s; listens on %s, namers: %d", c.Name, c.HTTP.Address, len(c.Namers)), namerdRights(c), nil
		}},
		{"scheduler", []string{"discovery", "evaluation_interval", "jobs", "nomad", "policy", "prometheus", "scrape"}, func(paths []string) (string, rights, error) {
			c, err := schedulerconfig.Load(paths)
			if err != nil {
				return "", rights{}, err
			}
			return fmt.Sprintf("%s; policies: %d", c.Name, len(c.Policies)), schedulerRights(c), nil
		}},
	}
}

func (c *validateCommand) Run(args []string) int {
	f := c.flags("validate")
	kind := f.String("kind", "", "")
	acl := f.Bool("acl", false, "")
	asJSON := f.Bool("json", false, "")
	paths, code, ok := c.parse(f, args, c.Help)
	if !ok {
		return code
	}
	if len(paths) == 0 {
		return c.usage("validate: name a file or a directory")
	}
	kinds := configKinds()
	if *kind == "" {
		*kind = guessKind(kinds, hclx.TopLevel(paths))
	}
	i := slices.IndexFunc(kinds, func(k configKind) bool { return k.name == *kind })
	if *kind != "" && i < 0 {
		return c.usage("validate: unknown kind %q; the kinds are agent, namerd and scheduler", *kind)
	}
	if i < 0 {
		// What cannot even be read is reported as such, whatever it was meant to be.
		if _, _, err := kinds[0].load(paths); unreadable(err) {
			return c.invalid("", *asJSON, err)
		}
		return c.usage("validate: the blocks do not tell what this configures; say -kind agent, namerd or scheduler")
	}
	summary, needs, err := kinds[i].load(paths)
	if err != nil {
		return c.invalid(kinds[i].name, *asJSON, err)
	}
	if *asJSON {
		answer := map[string]any{"valid": true, "kind": kinds[i].name, "problems": []string{}}
		if *acl {
			answer["acl"] = needs.json()
		}
		return c.json(answer)
	}
	if *acl {
		fmt.Fprint(c.out, needs.policy())
		return exitOK
	}
	fmt.Fprintf(c.out, "valid %s configuration (%s)\n", kinds[i].name, summary)
	return exitOK
}

func (c *validateCommand) invalid(kind string, asJSON bool, err error) int {
	var invalid *hclx.Error
	if !errors.As(err, &invalid) {
		return c.fail(err)
	}
	if asJSON {
		c.json(map[string]any{"valid": false, "kind": kind, "problems": invalid.Problems})
		return exitUsage
	}
	c.fail(err)
	if n := len(invalid.Problems); n > 1 {
		fmt.Fprintf(c.errs, "%d problems\n", n)
	}
	return exitUsage
}

// unreadable reports whether the problems are about the files themselves, and not about what stands in them.
func unreadable(err error) bool {
	var invalid *hclx.Error
	return errors.As(err, &invalid) && invalid.Syntax
}

// guessKind finds the kind that most of the blocks belong to; "" if that is not clear.
func guessKind(kinds []configKind, names []string) string {
	best, most, tie := "", 0, false
	for _, k := range kinds {
		n := 0
		for _, name := range names {
			if slices.Contains(k.own, name) {
				n++
			}
		}
		switch {
		case n > most:
			best, most, tie = k.name, n, false
		case n == most && n > 0:
			tie = true
		}
	}
	if tie {
		return ""
	}
	return best
}
