package files

import (
	"io/fs"
	"os"
	"time"
)

// stamp tells two contents of a file apart without reading them, unless they are of nearly the same moment.
type stamp struct {
	there         bool
	size          int64
	device, inode uint64    // where the system tells
	modified      time.Time // by the file's own account, which programs can set
	changed       time.Time // by the system's, where it has one
}

// stat is the zero stamp for a file that is not there, or cannot be looked at.
func stat(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stampOf(info)
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{there: true, size: info.Size(), modified: info.ModTime(), changed: info.ModTime()}
	s.ask(info)
	return s
}
