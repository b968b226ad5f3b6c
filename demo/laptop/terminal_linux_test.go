package laptop_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"argosy/e2e/stack"
)

// terminal opens a pseudo terminal: what is written to near is typed at far, and what far shows is read from near.
func terminal(t *testing.T) (near, far *os.File) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	fd := int(near.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 120}); err != nil {
		t.Fatal(err)
	}
	far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near, far
}

// shown collects what a terminal has shown.
type shown struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *shown) watch(near *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := near.Read(buf)
		s.mu.Lock()
		s.text.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *shown) has(texts ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		if !strings.Contains(s.text.String(), text) {
			return false
		}
	}
	return true
}

func TestLiveOnATerminal(t *testing.T) {
	t.Parallel()
	near, far := terminal(t)
	before, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	cmd := exec.Command(stack.Binary(t), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, far
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var s shown
	go s.watch(near) // ends when near is closed
	wait := func(what string, texts ...string) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for !s.has(texts...) {
			if time.Now().After(deadline) {
				cmd.Process.Kill()
				cmd.Wait()
				t.Fatalf("never shown: %s", what)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	wait("the fleet", "\x1b[?1049h", "redis1", "2 wanted, 2 running", "dtab get default")
	near.WriteString("2")
	wait("that a key takes over", "it is yours", "dtab update default")
	near.WriteString("q")
	await(t, cmd, 20*time.Second)
	nothingIn(t, tmp)
	wait("the first screen again, with what was measured", "\x1b[?1049l", "no process, no port and no file is left")
	if !cmd.ProcessState.Success() {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
	after, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *after != *before {
		t.Errorf("the terminal is not as it was: %+v, before %+v", after, before)
	}
}
