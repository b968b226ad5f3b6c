package process

import (
	"bytes"
	"strings"
	"sync"
)

const maxLine = 64 << 10

// lines is a writer that hands on whole lines.
type lines struct {
	write   func(line string)
	mu      sync.Mutex // os/exec gives up on its copying goroutine when a stranger keeps the pipe open
	pending []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			l.pending = append(l.pending, p...)
			if len(l.pending) >= maxLine { // nobody writes lines this long; the rest comes as further lines
				l.flush()
			}
			break
		}
		l.pending = append(l.pending, p[:end]...)
		l.flush()
		p = p[end+1:]
	}
	return n, nil
}

// end hands on a last line that has no end.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) > 0 {
		l.flush()
	}
}

func (l *lines) flush() {
	l.write(strings.TrimSuffix(string(l.pending), "\r"))
	l.pending = l.pending[:0]
}
