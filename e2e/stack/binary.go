package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"argosy/e2e/stack/servers"
)

// Raced reports whether programs are built with the race detector, under which they take several times the memory.
func Raced() bool { return os.Getenv("ARGOSY_RACE") == "1" }

// Build builds a command of the repository, such as ./cmd/argosy, into the repository's .cache folder and returns its
// absolute path. Go's own cache makes it quick when nothing has changed. It is built as `make build` does, or, with
// $ARGOSY_RACE=1, with the race detector, which needs cgo.
func Build(ctx context.Context, pkg string) (string, error) {
	root, err := servers.Root()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	dir := filepath.Join(root, ".cache", "bin")
	args, env := []string{"build", "-trimpath"}, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if Raced() {
		dir += "-race"
		args, env = append(args, "-race"), append(env, "CGO_ENABLED=1")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	out := filepath.Join(dir, filepath.Base(pkg))

	// Test binaries of several packages run at once: one builds, the others then find it built.
	f, err := os.OpenFile(out+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", out, pkg)...)
	cmd.Dir = root
	cmd.Env = env
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, strings.TrimSpace(string(b)))
	}
	return out, nil
}
