package consulclient

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tokenLook is how often the token's file is looked at while requests wait at Consul.
const tokenLook = time.Second

// errOtherToken ends a request that waits with a token that has been replaced.
var errOtherToken = errors.New("the token has been replaced")

// tokenFile is a token in a file that may be replaced while we run. Its methods may be called from any goroutine.
type tokenFile struct {
	path    string
	changes *atomic.Uint64 // of the token, so far; may be nil

	mu      sync.Mutex
	token   string
	seen    os.FileInfo
	waiting map[*waiter]struct{}
	timer   *time.Timer // of the next look; runs while somebody waits
}

// waiter is a request that waits at Consul.
type waiter struct {
	token  string // that it was sent with
	cancel context.CancelCauseFunc
}

// read reads the file for the first time.
func (f *tokenFile) read() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return "", err
	}
	if f.token, err = readToken(f.path); err != nil {
		return "", err
	}
	f.seen = info
	return f.token, nil
}

// current returns the newest token. A file that has become unreadable leaves the last one in use: it may still be good.
func (f *tokenFile) current() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest()
}

// newest is current for the caller that holds mu.
func (f *tokenFile) newest() string {
	info, err := os.Stat(f.path)
	if err != nil || sameFile(info, f.seen) {
		return f.token
	}
	if token, err := readToken(f.path); err == nil {
		if token != f.token && f.changes != nil {
			f.changes.Add(1)
		}
		f.token, f.seen = token, info
	}
	return f.token
}

// wait returns the newest token, and calls cancel with errOtherToken when there is another one, unless done is called
// before that.
func (f *tokenFile) wait(cancel context.CancelCauseFunc) (token string, done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &waiter{f.newest(), cancel}
	if f.waiting == nil {
		f.waiting = make(map[*waiter]struct{})
	}
	f.waiting[w] = struct{}{}
	if f.timer == nil {
		f.timer = time.AfterFunc(tokenLook, f.look)
	}
	return w.token, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.waiting, w)
		if len(f.waiting) == 0 && f.timer != nil {
			f.timer.Stop()
			f.timer = nil
		}
	}
}

// look ends the requests that wait with a token that is not the newest.
func (f *tokenFile) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		return
	}
	newest := f.newest()
	for w := range f.waiting {
		if w.token != newest {
			w.cancel(errOtherToken)
		}
	}
	f.timer = time.AfterFunc(tokenLook, f.look)
}

// sameFile reports whether nothing suggests that a file has changed.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// readToken reads a token without the white space around it.
func readToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return token, nil
}
