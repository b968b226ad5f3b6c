//go:build linux

package usage

import (
	"os"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("12 (a ) b) S 1 77 77 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 5 0 1 1 1"))
	if err != nil || s.group != 77 || s.cpu != 1750*time.Millisecond {
		t.Errorf("%+v, %v", s, err)
	}
	for _, text := range []string{"", "12 (a) S 1 77", "12 (a) S 1 x 77 0 -1 4194560 1 0 0 0 150 25", "12 (a) S 1 7 77 0 -1 4194560 1 0 0 0 y 25"} {
		if s, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

// A group has this process in it, and perhaps the one that started it.
func TestGroup(t *testing.T) {
	u, err := Group(syscall.Getpgrp())
	if err != nil || u.Memory < 1000 || u.Files < 3 {
		t.Errorf("%+v, %v", u, err)
	}
	own, err := Process(os.Getpid())
	if err != nil || own.Memory < 1000 || own.Files < 3 {
		t.Errorf("%+v, %v", own, err)
	}
	if _, err := Group(1 << 30); err == nil {
		t.Error("a group without processes")
	}
}
