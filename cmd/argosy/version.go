package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// What was built. The linker may set both: -X main.version=1.2.3 -X main.commit=0123456789ab.
var (
	version = "0.1.0-dev"
	commit  = ""
)

// versionText is the version with the commit it was built from, where that is known.
func versionText() string {
	built := commit
	if info, ok := debug.ReadBuildInfo(); ok && built == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				built = s.Value[:12]
			}
		}
	}
	if built == "" {
		return version
	}
	return version + "+" + built
}

type versionCommand struct{ *meta }

func (c *versionCommand) Synopsis() string { return "Print the version" }

func (c *versionCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy version [-json]

  Prints the version, the commit it was built from, and the Go release.

Example:

    argosy version -json`)
}

func (c *versionCommand) Run(args []string) int {
	f := c.flags("version")
	asJSON := f.Bool("json", false, "")
	if _, code, ok := c.parse(f, args, c.Help); !ok {
		return code
	}
	if *asJSON {
		return c.json(map[string]string{
			"version": versionText(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
		})
	}
	fmt.Fprintf(c.out, "argosy %s (%s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
