package servers

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// build makes one server from its module.
type build struct {
	spec
	dir     string // of the module
	cache   string // where all servers are kept
	target  string // the program
	version string // of the release that the module pins
	cgo     bool
}

// newBuild names the target by everything that decides what comes out: the module's files, the Go release and platform,
// and the flags.
func newBuild(ctx context.Context, root string, sp spec) (*build, error) {
	b := &build{spec: sp, dir: filepath.Join(root, filepath.FromSlash(sp.module)), cache: cacheDir(root)}
	mod, err := os.ReadFile(filepath.Join(b.dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	sum, err := os.ReadFile(filepath.Join(b.dir, "go.sum"))
	if err != nil {
		return nil, err
	}
	if b.version, err = pinned(mod, sp.pkg); err != nil {
		return nil, err
	}
	platform, err := b.goCommand(ctx, "env", "GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", withStderr(err))
	}
	b.cgo = strings.HasSuffix(strings.TrimSpace(string(platform)), "1") // the last of the four
	h := sha256.New()
	for _, part := range [][]byte{mod, sum, platform, []byte(strings.Join(b.flags(), " "))} {
		fmt.Fprintf(h, "%d\n", len(part))
		h.Write(part)
	}
	key := hex.EncodeToString(h.Sum(nil))[:16]
	b.target = filepath.Join(b.cache, sp.name+"-"+key, sp.name)
	return b, nil
}

// pinned reads from a go.mod the release of the module that pkg is in.
func pinned(mod []byte, pkg string) (string, error) {
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) == 2 && strings.HasPrefix(f[1], "v") && (f[0] == pkg || strings.HasPrefix(pkg, f[0]+"/")) {
			return strings.TrimPrefix(f[1], "v"), nil
		}
	}
	return "", fmt.Errorf("go.mod does not require %s", pkg)
}

func (b *build) flags() []string {
	f := []string{"-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags=-s -w"}
	if b.tags != "" {
		f = append(f, "-tags="+b.tags)
	}
	return f
}

// goCommand runs go in the module's folder, without what a user may have set for work of their own.
func (b *build) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GO111MODULE=on", "GOOS=", "GOARCH=", "PWD="+b.dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run builds into a folder beside the target and then renames it, so that a target is always whole.
func (b *build) run(ctx context.Context, progress io.Writer) error {
	p := newProgress(progress, b.name+" "+b.version)
	defer p.stop()
	dir := filepath.Dir(b.target)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	temp, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	defer os.RemoveAll(temp)
	extra, err := b.withoutCgo(ctx, temp)
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	flags := append(b.flags(), extra...)
	total, err := b.list(ctx, p, flags)
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	program := filepath.Join(temp, b.name)
	args := append([]string{"build", "-v", "-o", program}, flags...)
	compiled := 0
	p.say(fmt.Sprintf("compiling at most %d packages", total))
	err = b.follow(b.goCommand(ctx, append(args, b.pkg)...), func(line string) bool {
		if !packagePattern.MatchString(line) {
			return false
		}
		compiled++
		p.say(fmt.Sprintf("%d of at most %d packages compiled", compiled, total))
		return true
	})
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if err := os.Rename(program, b.target); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	p.done(fmt.Sprintf("built, %d packages compiled: %s", compiled, b.target))
	return nil
}

// packagePattern matches what go build -v prints for each package that it compiles.
var packagePattern = regexp.MustCompile(`^[\w.\-]+(/[\w.\-~+]+)*$`)

// list downloads the modules that the build needs and counts the packages in it.
func (b *build) list(ctx context.Context, p *progress, flags []string) (int, error) {
	p.say("looking up modules")
	args := append([]string{"list", "-deps"}, flags...)
	cmd := b.goCommand(ctx, append(args, b.pkg)...)
	downloads := 0
	out := &lineCounter{}
	cmd.Stdout = out
	err := b.follow(cmd, func(line string) bool {
		if !strings.HasPrefix(line, "go: downloading ") {
			return false
		}
		downloads++
		p.say(fmt.Sprintf("downloading modules: %d so far (%s)", downloads, strings.TrimPrefix(line, "go: downloading ")))
		return true
	})
	return out.lines, err
}

// follow runs a command, hands each line of its standard error to take, and puts those that take does not want into the
// error.
func (b *build) follow(cmd *exec.Cmd, take func(string) bool) error {
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var rest []string
	scanner := bufio.NewScanner(stderr)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if line := scanner.Text(); !take(line) && len(rest) < 40 {
			rest = append(rest, line)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", cmd.Args[1], err, strings.Join(rest, "\n"))
	}
	return nil
}

// lineCounter counts the lines written to it.
type lineCounter struct{ lines int }

func (c *lineCounter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' {
			c.lines++
		}
	}
	return len(p), nil
}

func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
