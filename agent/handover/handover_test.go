package handover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// listeners listens on n ports.
func listeners(t *testing.T, n int) []*net.TCPListener {
	t.Helper()
	var all []*net.TCPListener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		all = append(all, l.(*net.TCPListener))
	}
	return all
}

func offered(all []*net.TCPListener) func() ([]Socket, error) {
	return func() ([]Socket, error) {
		var s []Socket
		for i, l := range all {
			f, err := l.File()
			if err != nil {
				return nil, err
			}
			s = append(s, Socket{fmt.Sprintf("port %d", i), f})
		}
		return s, nil
	}
}

func offer(t *testing.T, path string, sockets func() ([]Socket, error)) (*Offering, chan Taken) {
	t.Helper()
	taken := make(chan Taken, 1)
	o, err := Offer(path, sockets, func(x Taken) { taken <- x }, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o, taken
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestHandOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old := listeners(t, 2*batch+7)
	before := descriptors(t)
	_, taken := offer(t, path, offered(old))
	got, err := Take(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Sockets) != len(old) {
		t.Fatalf("%d sockets", len(got.Sockets))
	}
	for i, l := range old {
		f := got.File(fmt.Sprintf("port %d", i))
		inherited, err := net.FileListener(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if inherited.Addr().String() != l.Addr().String() {
			t.Errorf("%d: %v became %v", i, l.Addr(), inherited.Addr())
		}
		if i == 0 { // both can accept
			for _, by := range []net.Listener{l, inherited} {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				by.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
				a, err := by.Accept()
				if err != nil {
					t.Fatal(err)
				}
				a.Close()
				c.Close()
			}
		}
		inherited.Close()
	}
	if got.File("port 0") != nil {
		t.Error("taken out twice")
	}
	select {
	case <-taken:
		t.Fatal("taken over before the new process serves")
	default:
	}
	if err := got.Serving(Taken{Services: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	if x := <-taken; len(x.Services) != 2 {
		t.Error(x)
	}
	got.Close()
	if _, err := Take(context.Background(), path); !errors.Is(err, ErrNobody) {
		t.Errorf("after the hand-over: %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); descriptors(t) > before+1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors before, %d after", before, descriptors(t))
		}
	}
}

func TestNewProcessThatFailsChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, taken := offer(t, path, offered(listeners(t, 3)))
	for range 3 {
		got, err := Take(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		got.Close()
	}
	// Nor does one that says nonsense.
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Write(binary.BigEndian.AppendUint32(nil, longest+1))
	io.ReadAll(c)
	c.Close()
	got, err := Take(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if len(taken) > 0 {
		t.Error("taken over")
	}
	if err := got.Serving(Taken{}); err != nil || len(taken) != 1 {
		t.Errorf("%v, taken over %d times", err, len(taken))
	}
}

func TestNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := Take(context.Background(), path); !errors.Is(err, ErrNobody) {
		t.Error(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // its process is gone, the path is left
	if _, err := Take(context.Background(), path); !errors.Is(err, ErrNobody) {
		t.Error(err)
	}
	offer(t, path, offered(nil)) // in its place
	got, err := Take(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
}

func TestOfferThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	offer(t, path, func() ([]Socket, error) { return nil, errors.New("no sockets today") })
	if _, err := Take(context.Background(), path); err == nil || errors.Is(err, ErrNobody) || !strings.Contains(err.Error(), "no sockets today") {
		t.Error(err)
	}
	if _, err := Offer(filepath.Join(path, "below", "s"), nil, nil, hclog.NewNullLogger()); err == nil {
		t.Error("offered where there is no folder")
	}
}

// Close must not wait for a process that has taken the sockets and says nothing.
func TestCloseWhileTalking(t *testing.T) {
	before := runtime.NumGoroutine()
	path := filepath.Join(t.TempDir(), "s")
	o, _ := offer(t, path, offered(listeners(t, 1)))
	got, err := Take(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	if err := got.Serving(Taken{}); err == nil {
		t.Error("a closed offering was taken up")
	}
	got.Close()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}
