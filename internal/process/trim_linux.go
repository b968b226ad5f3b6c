package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Trim gives back the pages of the program's file that its start has used: the tables of all the libraries that one
// command links and another needs. What is used again is mapped again from the page cache, without reading the disk.
// It returns how many bytes of the program may have been given back.
func Trim() (int64, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("find the program: %w", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, fmt.Errorf("read the memory map: %w", err)
	}
	var given int64
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		// address perms offset dev inode path; see proc_pid_maps(5)
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[5] != self || strings.Contains(fields[1], "w") {
			continue // what can be written may differ from the file
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil || end <= start {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED); errno != 0 {
			return given, os.NewSyscallError("madvise", errno)
		}
		given += int64(end - start)
	}
	return given, nil
}
