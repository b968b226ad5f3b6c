package listen

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"argosy/internal/unixsocket"
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func helloUnix(t *testing.T, path string) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	expectHello(t, c)
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := openSocket(t, path, Options{Network: "unix"})
	go s.Serve(answer)
	for range 5 {
		helloUnix(t, path)
	}
	if info, _ := os.Lstat(path); info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := Open(context.Background(), path, Options{Network: "unix"}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one: %v", err)
	}
	helloUnix(t, path)
	s.Stop()
	if exists(path) {
		t.Error("the file is still there")
	}
}

func TestUnixSocketOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	u := unixsocket.Permission{Mode: 0o600}
	if os.Getuid() == 0 {
		u.Owner, u.Group = "root", "65534"
	}
	s := openSocket(t, path, Options{Network: "unix", Unix: u})
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&0o777 != 0o600 || (u.Group != "" && st.Gid != 65534) {
		t.Errorf("mode %o, group %d: %v", st.Mode, st.Gid, err)
	}
	s.Stop()
	if _, err := Open(context.Background(), path, Options{Network: "unix", Unix: unixsocket.Permission{Owner: "nobody-of-this-name"}}); err == nil || exists(path) {
		t.Errorf("an owner that does not exist: %v, file left: %v", err, exists(path))
	}
}

// TestUnixSocketStale: what a process has left behind is replaced, and nothing else.
func TestUnixSocketStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s := openSocket(t, path, Options{Network: "unix"})
	go s.Serve(answer)
	helloUnix(t, path)
	s.Stop()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), path, Options{Network: "unix"}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("a file has been overwritten")
	}
}

// TestUnixSocketReplaced: Stop does not remove the file of whoever listens there now.
func TestUnixSocketReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := openSocket(t, path, Options{Network: "unix"})
	os.Remove(path)
	second := openSocket(t, path, Options{Network: "unix"})
	go second.Serve(answer)
	s.Stop()
	helloUnix(t, path)
}

// TestTakeOver: a socket goes to another owner without refusing a connection, and its file with it.
func TestTakeOver(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			first := openSocket(t, address, Options{Network: network})
			go first.Serve(answer)
			address = first.Addr().String()
			f, err := first.Dup()
			if err != nil {
				t.Fatal(err)
			}
			second, err := FromFile(f, Options{Network: network})
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(second.Stop)
			if second.Addr().String() != address {
				t.Errorf("took over %s of %s", second.Addr(), address)
			}
			first.Leave()
			var asked, serving sync.WaitGroup
			for range 10 { // some of them before anybody accepts
				c, err := net.Dial(network, address)
				if err != nil {
					t.Fatal(err)
				}
				asked.Go(func() { expectHello(t, c) })
			}
			serving.Go(func() { second.Serve(answer) })
			asked.Wait()
			second.Stop()
			serving.Wait()
			if network == "unix" && exists(address) {
				t.Error("the file is still there")
			}
		})
	}
}

func TestTakeOverRefuses(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0", Options{})
	tcp, err := s.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, c := range []struct {
		file    *os.File
		network string
	}{{tcp, "unix"}, {r, "tcp"}} {
		if s, err := FromFile(c.file, Options{Network: c.network}); err == nil {
			s.Stop()
			t.Errorf("%s taken for %s", c.file.Name(), c.network)
		}
	}
}

func TestUnixSocketPermit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := openSocket(t, path, Options{Network: "unix"})
	if err := s.Permit(unixsocket.Permission{Mode: 0o606}); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Lstat(path); info.Mode().Perm() != 0o606 {
		t.Errorf("mode %v", info.Mode())
	}
}
