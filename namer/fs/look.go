package fs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/namer"
)

// largest is how large a file may be, in bytes. Linkerd has the same limit.
const largest = 500_000

// fresh is how long after its last change a file is read at every look: a second change may leave its time and size as
// they are.
const fresh = 2 * time.Second

// look is what a file looked like at one moment. The zero look is none at all.
type look struct {
	done    bool
	missing bool  // there is no such file
	err     error // it could not be read
	used    int   // elements of the name that lead to the file
	text    string

	info iofs.FileInfo
	at   time.Time
}

// same reports whether two looks have seen the same.
func (l look) same(m look) bool {
	return l.done == m.done && l.missing == m.missing && l.used == m.used && l.text == m.text &&
		(l.err == nil) == (m.err == nil) && (l.err == nil || l.err.Error() == m.err.Error())
}

// plain reports whether a look may be believed at once: nothing hints at a file that is just being written.
func (l look) plain() bool {
	if l.err != nil || l.missing {
		return l.missing
	}
	_, err := parse(l.text)
	return err == nil && strings.HasSuffix(l.text, "\n")
}

// look looks for the file that key leads to. A file that has not changed since the look before is not read again.
func (n *Namer) look(key dtab.Path, before look) look {
	now := look{done: true, at: time.Now()}
	path := n.root
	for i, element := range key {
		if !fileName(element) {
			break
		}
		path = filepath.Join(path, element)
		info, err := os.Stat(path)
		if err != nil {
			return n.notFound(now, err)
		}
		if info.IsDir() {
			continue
		}
		now.used, now.info = i+1, info
		if before.unchanged(now) {
			now.text = before.text
			return now
		}
		now.text, now.err = read(path, info)
		return now
	}
	now.missing = true // a folder
	return now
}

// notFound tells a missing file from a folder that is not there at all, or cannot be looked into.
func (n *Namer) notFound(now look, err error) look {
	if errors.Is(err, iofs.ErrNotExist) {
		if _, rootErr := os.Stat(n.root); rootErr == nil {
			now.missing = true
			return now
		}
	}
	now.err = err
	return now
}

func (l look) unchanged(now look) bool {
	return l.info != nil && l.err == nil && l.used == now.used && os.SameFile(l.info, now.info) &&
		l.info.Size() == now.info.Size() && l.info.ModTime().Equal(now.info.ModTime()) &&
		l.at.Sub(l.info.ModTime()).Abs() > fresh
}

func read(path string, info iofs.FileInfo) (string, error) {
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, largest+1))
	if err == nil && len(text) > largest {
		err = fmt.Errorf("%s: larger than %d bytes", path, largest)
	}
	return string(text), err
}

// MalformedError is a line that is no endpoint. It reads as Linkerd says it.
type MalformedError struct {
	Text string // the line without comment and the white space around it
	Line int    // from 1
	Err  error  // what is wrong with it
}

func (e *MalformedError) Error() string { return "malformed address: " + e.Text }

// Unwrap returns what is wrong.
func (e *MalformedError) Unwrap() error { return e.Err }

// parse reads a file. One bad line spoils it.
func parse(text string) ([]namer.Target, error) {
	var targets []namer.Target
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		target, err := namer.ParseTarget(line)
		if err != nil {
			return nil, &MalformedError{Text: line, Line: n + 1, Err: err}
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// belief decides what to make of one look after the other.
type belief struct {
	last, believed look
	since          time.Time // when what is there was first there
}

// changed reports whether now is a state of the file that is to be believed, and is another than the one believed before.
func (b *belief) changed(now look) bool {
	first := !b.last.done
	if !now.same(b.last) {
		b.since = now.at
	}
	b.last = now
	again := now.at.Sub(b.since) >= poll // looks can follow each other faster, when several events come
	if now.same(b.believed) || !again && !(first && now.plain()) {
		return false
	}
	if now.text == "" && now.err == nil && !now.missing && now.at.Sub(b.since) < emptied {
		return false
	}
	b.believed = now
	return true
}
