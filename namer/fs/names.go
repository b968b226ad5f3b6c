package fs

import (
	"context"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"

	"argosy/dtab"
)

// Names lists the files at the top of the folder, as Linkerd does: what lies in folders below can be bound, but is not
// listed.
func (n *Namer) Names(ctx context.Context) ([]dtab.Path, error) {
	entries, err := os.ReadDir(n.root) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	var all []dtab.Path
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list services: %w", err)
		}
		if fileName(e.Name()) && n.isFile(e) {
			all = append(all, dtab.Path{e.Name()})
		}
	}
	return all, nil
}

// isFile looks through symbolic links, by which templates and Kubernetes publish files.
func (n *Namer) isFile(e iofs.DirEntry) bool {
	if e.Type()&iofs.ModeSymlink == 0 {
		return e.Type().IsRegular()
	}
	info, err := os.Stat(filepath.Join(n.root, e.Name()))
	return err == nil && info.Mode().IsRegular()
}
