// Package servers finds the real servers that tests and the Nomad demo run on: Consul, Nomad and Prometheus. One that
// is installed and new enough is taken as it is; else the pinned release is built from its Go module under tools/,
// once, and kept in the user's cache folder.
package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Names of the servers that Locate knows, in the order they are worth building: the quickest first.
const (
	Prometheus = "prometheus"
	Consul     = "consul"
	Nomad      = "nomad"
)

// Names lists them.
func Names() []string { return []string{Prometheus, Consul, Nomad} }

// Sources of a server.
const (
	FromEnv   = "environment" // named by $ARGOSY_CONSUL and so on
	FromPath  = "path"        // installed, and new enough
	FromCache = "cache"       // built earlier
	FromBuild = "build"       // built just now
)

// Server is a server's program.
type Server struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Version string `json:"version"` // such as 1.21.0; empty when only named by the environment
	Source  string `json:"source"`
}

// spec says how one server is recognised and built.
type spec struct {
	name    string
	module  string // folder below the repository's root
	pkg     string
	tags    string
	minimum version
	nocgo   string // module to which the folder nocgo is added where there is no cgo
}

func specOf(name string) (spec, error) {
	switch name {
	case Consul:
		return spec{name: name, module: "tools/consul", pkg: "github.com/hashicorp/consul", minimum: version{1, 20, 0}}, nil
	case Nomad:
		return spec{name: name, module: "tools/nomad", pkg: "github.com/hashicorp/nomad", minimum: version{1, 10, 0},
			nocgo: "github.com/opencontainers/runc"}, nil
	case Prometheus:
		// Every discovery but Consul's is left out: a third of the size, half of the build.
		return spec{name: name, module: "tools/prometheus", pkg: "github.com/prometheus/prometheus/cmd/prometheus",
			tags: "remove_all_sd,enable_consul_sd", minimum: version{2, 42, 0}}, nil
	}
	return spec{}, fmt.Errorf("unknown server %q: there are %s", name, strings.Join(Names(), ", "))
}

// Locate returns the path of a server, building it if need be. See Find.
func Locate(ctx context.Context, name string, progress io.Writer) (string, error) {
	s, err := Find(ctx, name, progress)
	return s.Path, err
}

// Find looks for a server in $ARGOSY_<NAME>, in PATH where it is new enough (Consul 1.20, Nomad 1.10, Prometheus 2.42)
// and among those built earlier, and else builds it, which takes some minutes and is shown on progress. Processes that
// ask at the same time wait for each other, so that each server is built once. It needs a working folder inside the
// repository only if it must build.
func Find(ctx context.Context, name string, progress io.Writer) (Server, error) {
	sp, err := specOf(name)
	if err != nil {
		return Server{}, err
	}
	if progress == nil {
		progress = io.Discard
	}
	variable := "ARGOSY_" + strings.ToUpper(name)
	if p := os.Getenv(variable); p != "" {
		if _, err := exec.LookPath(p); err != nil {
			return Server{}, fmt.Errorf("%s: $%s: %w", name, variable, err)
		}
		v, _ := askVersion(ctx, p)
		return Server{name, p, v.String(), FromEnv}, nil
	}
	if p, err := exec.LookPath(name); err == nil {
		v, err := askVersion(ctx, p)
		if err == nil && !v.less(sp.minimum) {
			if p, err = filepath.Abs(p); err != nil {
				return Server{}, fmt.Errorf("%s: %w", name, err)
			}
			return Server{name, p, v.String(), FromPath}, nil
		}
		fmt.Fprintf(progress, "%s: %s is older than %s (%s): using the pinned one\n", name, p, sp.minimum, v)
	}
	return kept(ctx, sp, progress)
}

// kept returns the pinned release from the cache, after building it where it is missing.
func kept(ctx context.Context, sp spec, progress io.Writer) (Server, error) {
	root, err := Root()
	if err != nil {
		return Server{}, fmt.Errorf("%s: %w", sp.name, err)
	}
	b, err := newBuild(ctx, root, sp)
	if err != nil {
		return Server{}, fmt.Errorf("%s: %w", sp.name, err)
	}
	s := Server{sp.name, b.target, b.version, FromCache}
	if isProgram(b.target) {
		return s, nil
	}
	unlock, err := lock(ctx, filepath.Join(b.cache, "build.lock"), func() {
		fmt.Fprintf(progress, "%s: another process is building servers: waiting for it\n", sp.name)
	})
	if err != nil {
		return Server{}, fmt.Errorf("%s: %w", sp.name, err)
	}
	defer unlock()
	if isProgram(b.target) { // by the one we waited for
		return s, nil
	}
	if err := b.run(ctx, progress); err != nil {
		return Server{}, fmt.Errorf("%s: %w", sp.name, err)
	}
	s.Source = FromBuild
	return s, nil
}

// Root is the repository that the working folder is in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for from := dir; ; {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), "module argosy\n") {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("%s is not inside argosy's repository, whose tools/ folder pins the servers", from)
		}
		dir = up
	}
}

// cacheDir is where built servers are kept: the user's cache folder, or the repository's own when there is none.
func cacheDir(root string) string {
	if dir, err := os.UserCacheDir(); err == nil {
		dir = filepath.Join(dir, "argosy", "servers")
		if os.MkdirAll(dir, 0o755) == nil {
			return dir
		}
	}
	return filepath.Join(root, ".cache", "servers")
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// CanDiscoverConsul reports whether a Prometheus was built with Consul service discovery, which Debian's is not.
func CanDiscoverConsul(prometheus string) (bool, error) {
	b, err := os.ReadFile(prometheus)
	if err != nil {
		return false, err
	}
	return containsString(b, "prometheus/discovery/consul."), nil
}

// errNoVersion says that a program did not tell its version.
var errNoVersion = errors.New("no version in its answer")
