package accesslog

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	flushAfter  = time.Second // a line is written no later than that, if the writer is not slow
	flushEarly  = 256         // records that are written at once
	mostPending = 8192        // records that wait for the writer
	largestPart = 64 << 10    // bytes of text that are written at a time
)

// Counter counts lines that are lost.
type Counter interface{ Add(float64) }

// Sink is where the lines go.
type Sink struct {
	w    io.WriteCloser
	name string
}

// Open returns the sink of a name: stdout, stderr, or a file to append to, which only its owner and group may read.
func Open(name string, stdout, stderr io.Writer) (*Sink, error) {
	switch name {
	case "stdout":
		return &Sink{unclosed{stdout}, name}, nil
	case "stderr":
		return &Sink{unclosed{stderr}, name}, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return &Sink{f, name}, nil
}

// unclosed belongs to somebody else.
type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// Close gives up a sink that no log uses.
func (s *Sink) Close() error { return s.w.Close() }

// Log takes records from any goroutine and writes them from one of its own. It is off until it has a sink.
type Log struct {
	logger hclog.Logger
	lost   Counter

	on      atomic.Bool
	changed chan struct{} // holds one when the writer has something to do at once
	waiting chan struct{} // holds one when there is something to write

	mu      sync.Mutex
	parts   []part        // the last one is for what comes now
	pending int           // records in them
	ended   chan struct{} // closed when the writer has ended; nil before it has begun
	closed  bool

	// The writer's own.
	broken bool // the last write has failed, and that has been said
	torn   bool // it has left a part of a line
}

// part is what goes to one sink, nil for nowhere.
type part struct {
	sink    *Sink
	records []Record
}

// New makes a log that is off. Lines that are lost are counted in lost.
func New(logger hclog.Logger, lost Counter) *Log {
	return &Log{
		logger: logger, lost: lost, changed: make(chan struct{}, 1), waiting: make(chan struct{}, 1), parts: make([]part, 1),
	}
}

// On reports whether lines are wanted.
func (l *Log) On() bool { return l.on.Load() }

// Use makes what is added from now on go to s, or nowhere if it is nil. The log owns s. It closes the sink before when
// all that belongs there is written.
func (l *Log) Use(s *Sink) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		if s != nil {
			s.Close()
		}
		return
	}
	l.parts = append(l.parts, part{sink: s})
	l.on.Store(s != nil)
	if l.ended == nil && s != nil {
		l.ended = make(chan struct{})
		go l.write()
	}
	signal(l.changed)
}

// Add takes a record, or loses it where the writer is too far behind. It does not wait.
func (l *Log) Add(r Record) {
	if !l.on.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := &l.parts[len(l.parts)-1]
	if now.sink == nil || l.closed {
		return
	}
	if l.pending >= mostPending {
		l.lost.Add(1)
		return
	}
	now.records = append(now.records, r)
	switch l.pending++; l.pending {
	case 1:
		signal(l.waiting)
	case flushEarly:
		signal(l.changed)
	}
}

// AddSlowly takes a record when the writer is not far behind, and waits for that until ctx ends.
func (l *Log) AddSlowly(ctx context.Context, r Record) {
	for l.behind() {
		pause := time.NewTimer(10 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			l.lost.Add(1)
			return
		}
	}
	l.Add(r)
}

func (l *Log) behind() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending > mostPending/2
}

// Close writes what is left, closes the sink, and takes nothing more. It waits so long at most: a disk or a reader that
// stands still must not keep the process from ending. It reports whether all is written.
func (l *Log) Close(patience time.Duration) bool {
	l.mu.Lock()
	l.closed = true
	l.on.Store(false)
	ended := l.ended
	l.mu.Unlock()
	if ended == nil {
		return true
	}
	signal(l.changed)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write is the writer: it takes what has come together in a second, or sooner when that is much.
func (l *Log) write() {
	defer close(l.ended)
	var buffer []byte
	var spare []Record
	for {
		select {
		case <-l.changed:
		case <-l.waiting:
			late := time.NewTimer(flushAfter)
			select {
			case <-l.changed:
			case <-late.C:
			}
			late.Stop()
		}
		l.mu.Lock()
		parts, closed := l.parts, l.closed
		now := parts[len(parts)-1]
		l.parts, l.pending = []part{{sink: now.sink, records: spare}}, 0
		l.mu.Unlock()

		for i, p := range parts {
			buffer = l.put(p.sink, buffer, p.records)
			if p.sink != nil && (closed || i < len(parts)-1) {
				l.close(p.sink)
			}
		}
		if closed {
			return
		}
		clear(now.records) // or they would hold on to what the connections were
		spare = now.records[:0]
	}
}

func (l *Log) close(s *Sink) {
	if err := s.Close(); err != nil {
		l.logger.Warn("access log: closing", "file", s.name, "error", err)
	}
	l.torn = false
}

// put writes records, and returns the buffer for the next time.
func (l *Log) put(s *Sink, buffer []byte, records []Record) []byte {
	buffer = buffer[:0]
	lines := 0
	for i := range records {
		buffer = records[i].append(buffer)
		if lines++; len(buffer) >= largestPart || i == len(records)-1 {
			l.out(s, buffer, lines)
			buffer, lines = buffer[:0], 0
		}
	}
	return buffer
}

// out writes whole lines. What fails is said once, until it works again.
func (l *Log) out(s *Sink, text []byte, lines int) {
	var n int
	var err error
	if l.torn {
		_, err = s.w.Write([]byte{'\n'})
	}
	if err == nil {
		n, err = s.w.Write(text)
	}
	if err == nil {
		if l.broken {
			l.logger.Info("access log: lines are written again", "file", s.name)
		}
		l.broken, l.torn = false, false
		return
	}
	for _, c := range text[:n] {
		if c == '\n' {
			lines--
		}
	}
	if n > 0 {
		l.torn = text[n-1] != '\n'
	}
	l.lost.Add(float64(lines))
	if !l.broken {
		l.broken = true
		l.logger.Error("access log: lines are lost", "file", s.name, "error", err)
	}
}
