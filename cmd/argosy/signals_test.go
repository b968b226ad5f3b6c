package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// syncBuffer is written and read by different goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Whoever has read that the agent listens may send it signals: they neither kill it nor come too early.
func TestSignalsAfterTheFirstLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(file, []byte(`
admin { address = "127.0.0.1:0" }
dtab { static = "/svc => /$/nil" }
listener "a" {
  address     = "127.0.0.1:0"
  destination = "/svc/a"
}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		read, write := io.Pipe()
		var log syncBuffer
		ended := make(chan int, 1)
		go func() { ended <- run([]string{"agent", "-config", file}, strings.NewReader(""), write, &log) }()
		line := make([]byte, 1000)
		if n, err := read.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "argosy agent") {
			t.Fatalf("%q %v", line[:n], err)
		}
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		for end := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), "configuration reloaded"); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no reload:\n%s", log.String())
			}
		}
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		if code := <-ended; code != exitOK {
			t.Errorf("exit %d\n%s", code, log.String())
		}
	}
}
