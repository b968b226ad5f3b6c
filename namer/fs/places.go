package fs

import (
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"argosy/dtab"
)

// place is an element of a folder: what happens to it may change what a name leads to. The folder's path has no
// symbolic links in it, so that each folder has one path only.
type place struct{ dir, name string }

// mostLinks is how many symbolic links are followed on the way to a file, as the kernel does.
const mostLinks = 40

// places are where a change would change what key leads to: every element of the way, links and what they point to
// included, the root folder first. Of a link that leads out of the root folder, only its target counts.
func (n *Namer) places(key dtab.Path) []place {
	var w way
	parent, err := filepath.EvalSymlinks(filepath.Dir(n.root))
	if err != nil {
		return nil
	}
	w.add(parent, filepath.Base(n.root))
	root, err := filepath.EvalSymlinks(n.root)
	if err != nil {
		return w.places
	}
	w.root = root
	if filepath.Dir(root) != parent || filepath.Base(root) != filepath.Base(n.root) {
		w.add(filepath.Dir(root), filepath.Base(root))
	}
	w.walk(root, key, mostLinks)
	return w.places
}

// way collects places.
type way struct {
	root   string
	places []place
}

// add notes a place, once: a loop of links comes by again and again.
func (w *way) add(dir, name string) {
	if p := (place{dir, name}); !slices.Contains(w.places, p) {
		w.places = append(w.places, p)
	}
}

// walk goes from a folder along elements, and ends at the first that is no folder.
func (w *way) walk(dir string, elements []string, links int) {
	for i, element := range elements {
		if element == ".." { // only in links: names have none
			dir = filepath.Dir(dir)
			continue
		}
		last := i == len(elements)-1
		if last || dir == w.root || strings.HasPrefix(dir, w.root+string(filepath.Separator)) {
			w.add(dir, element)
		}
		path := filepath.Join(dir, element)
		info, err := os.Lstat(path)
		switch {
		case err != nil:
			return
		case info.Mode()&iofs.ModeSymlink != 0:
			if links > 0 {
				w.link(dir, path, elements[i+1:], links-1)
			}
			return
		case !info.IsDir():
			return
		}
		dir = path
	}
}

// link goes on where a symbolic link points to.
func (w *way) link(dir, path string, rest []string, links int) {
	to, err := os.Readlink(path)
	if err != nil {
		return
	}
	if filepath.IsAbs(to) {
		// From the target's folder on, without what lies before it.
		if dir, err = filepath.EvalSymlinks(filepath.Dir(to)); err != nil {
			return
		}
		to = filepath.Base(to)
	}
	var elements []string
	for e := range strings.SplitSeq(filepath.ToSlash(to), "/") {
		if e != "" && e != "." {
			elements = append(elements, e)
		}
	}
	// The target is the last element of its own way, so that it counts wherever it is.
	w.walk(dir, elements, links)
	if len(rest) == 0 {
		return
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		w.walk(target, rest, links)
	}
}
