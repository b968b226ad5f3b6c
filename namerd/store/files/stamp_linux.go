package files

import (
	"io/fs"
	"syscall"
	"time"
)

func (s *stamp) ask(info fs.FileInfo) {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(sys.Dev), sys.Ino
		s.changed = time.Unix(sys.Ctim.Unix())
	}
}
