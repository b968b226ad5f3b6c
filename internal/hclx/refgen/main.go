// Command refgen writes the configuration reference, docs/configuration.md, from the raw structs that configurations
// are decoded into: their hcl tags, and their comments. `go generate ./agent/config` runs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "folder of the module")
	flag.Parse()
	text, err := reference(*root)
	if err == nil {
		err = os.WriteFile(filepath.Join(*root, output), []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "refgen:", err)
		os.Exit(1)
	}
}

const output = "docs/configuration.md"
