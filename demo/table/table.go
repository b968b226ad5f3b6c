// Package table changes the demo's Dtab the way a user does: by running `argosy dtab`.
package table

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"argosy/demo/story"
)

// Namespace is the one that the demo uses.
const Namespace = "default"

// CLI runs `argosy dtab` against one namerd. It may be used from any goroutine.
type CLI struct {
	Binary string // the program
	Name   string // how a user calls it
	Namerd string // base URL
	Dir    string // for the files with new tables
}

// Text is a command line, to show and to copy.
func (c *CLI) Text(args ...string) string {
	return fmt.Sprintf("%s dtab %s -addr %s", c.Name, strings.Join(args, " "), c.Namerd)
}

// Run runs a command and returns what it printed.
func (c *CLI) Run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.Binary, append(append([]string{"dtab"}, args...), "-addr", c.Namerd)...)
	out, err := cmd.Output()
	if err != nil {
		why := err.Error()
		if exit, ok := err.(*exec.ExitError); ok && len(exit.Stderr) > 0 {
			why = strings.TrimSpace(string(exit.Stderr))
		}
		return nil, fmt.Errorf("argosy dtab %s: %s", strings.Join(args, " "), why)
	}
	return out, nil
}

// redisEntry is the entry for /svc/redis, in any form that names a cluster: what leads to the cluster, and the rest of it.
var redisEntry = regexp.MustCompile(`(?m)^(\s*/svc/redis\s*=>\s*)[^;\n]*?(/[^\s;&|*]*?)redis\d+[^;\n]*`)

// Shift reads the table, points /svc/redis at a cluster, writes that back and returns the command that did it. Whatever
// else is in the table stays.
func (c *CLI) Shift(ctx context.Context, cluster string) (string, error) {
	now, err := c.Run(ctx, "get", Namespace)
	if err != nil {
		return "", err
	}
	if !redisEntry.Match(now) {
		return "", fmt.Errorf("shift to %s: the table has no entry for /svc/redis that ends in redis1 or redis2:\n%s", cluster, now)
	}
	path := filepath.Join(c.Dir, cluster+".dtab")
	if err := os.WriteFile(path, redisEntry.ReplaceAll(now, []byte("${1}${2}"+cluster+" ")), 0o600); err != nil {
		return "", err
	}
	if _, err := c.Run(ctx, "update", Namespace, path); err != nil {
		return "", err
	}
	return c.Text("update", Namespace, path), nil
}

// Hints are lines to try in a shell.
func (c *CLI) Hints() []story.Link {
	get := c.Name + " dtab get " + Namespace
	return []story.Link{
		{What: "once", Text: "export ARGOSY_NAMERD_ADDR=" + c.Namerd},
		{What: "the table", Text: get},
		{What: "shift by hand", Text: fmt.Sprintf("%s | sed s/redis1/redis2/ | %s dtab update %s -", get, c.Name, Namespace)},
	}
}
