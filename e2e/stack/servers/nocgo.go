package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// withoutCgo prepares the build of a server that does not compile on a machine without a C compiler: files of ours are
// added to a copy of the module that is in the way, and go is told to use that copy. It returns the flag that does so.
func (b *build) withoutCgo(ctx context.Context, into string) ([]string, error) {
	if b.cgo || b.nocgo == "" {
		return nil, nil
	}
	if out, err := b.goCommand(ctx, "mod", "download", b.nocgo).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("download %s: %w: %s", b.nocgo, err, out)
	}
	dir, err := b.goCommand(ctx, "list", "-m", "-f={{.Dir}}", b.nocgo).Output()
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", b.nocgo, withStderr(err))
	}
	module := filepath.Join(into, "module")
	for _, source := range []string{strings.TrimSpace(string(dir)), filepath.Join(b.dir, "nocgo")} {
		if err := os.CopyFS(module, os.DirFS(source)); err != nil {
			return nil, fmt.Errorf("copy %s: %w", b.nocgo, err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(b.dir, name))
		if err != nil {
			return nil, err
		}
		if name == "go.mod" {
			text = fmt.Appendf(text, "\nreplace %s => %s\n", b.nocgo, module)
		}
		if err := os.WriteFile(filepath.Join(into, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	return []string{"-modfile=" + filepath.Join(into, "go.mod")}, nil
}
