package hclx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is the largest configuration file that is read, in bytes.
const maxFile = 1 << 20

type source struct {
	name string
	text []byte
}

// read reads the files, and of directories the *.hcl files in the order of their names.
func (d *Decoder) read(paths []string) []source {
	if len(paths) == 0 {
		d.problems = append(d.problems, Problem{Message: "no configuration given", Hint: "name a file, or a directory with *.hcl files"})
	}
	var sources []source
	seen := map[string]bool{}
	for _, path := range paths {
		names, err := expand(path)
		if err != nil {
			d.unreadable(path, err)
			continue
		}
		for _, name := range names {
			if seen[name] {
				d.problems = append(d.problems, Problem{File: name, Message: "given twice"})
				continue
			}
			seen[name] = true
			d.order = append(d.order, name)
			text, err := readFile(name)
			if err != nil {
				d.unreadable(name, err)
				continue
			}
			sources = append(sources, source{name, text})
		}
	}
	return sources
}

func (d *Decoder) unreadable(path string, err error) {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	d.problems = append(d.problems, Problem{File: path, Message: fmt.Sprintf("cannot be read: %v", err)})
}

// expand returns the files that path stands for. Files of a directory whose names start with a dot are left out:
// editors and Kubernetes-like mounts put their own there.
func expand(path string) ([]string, error) {
	path = filepath.Clean(path)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".hcl") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if len(names) == 0 {
		return nil, errors.New("the directory has no *.hcl files")
	}
	return names, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	return text, nil
}
