package laptop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"argosy/dev"
)

// cli runs `argosy dtab` as a user would.
type cli struct{ binary, name, namerd, dir string }

// text is the command line, to show and to copy.
func (c *cli) text(args ...string) string {
	return fmt.Sprintf("%s dtab %s -addr %s", c.name, strings.Join(args, " "), c.namerd)
}

func (c *cli) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.binary, append(append([]string{"dtab"}, args...), "-addr", c.namerd)...)
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

var redisEntry = regexp.MustCompile(`(?m)^(\s*/svc/redis\s*=>\s*)/cluster/redis\d+`)

// shift reads the table, points /svc/redis at a cluster and writes it back.
func (c *cli) shift(ctx context.Context, cluster string) (string, error) {
	now, err := c.run(ctx, "get", dev.Namespace)
	if err != nil {
		return "", err
	}
	if !redisEntry.Match(now) {
		return "", fmt.Errorf("shift to %s: the table has no entry /svc/redis => /cluster/redis1 to change:\n%s", cluster, now)
	}
	path := filepath.Join(c.dir, cluster+".dtab")
	if err := os.WriteFile(path, redisEntry.ReplaceAll(now, []byte("${1}/cluster/"+cluster)), 0o600); err != nil {
		return "", err
	}
	if _, err := c.run(ctx, "update", dev.Namespace, path); err != nil {
		return "", err
	}
	return c.text("update", dev.Namespace, path), nil
}
