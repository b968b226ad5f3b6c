package door

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/settings"
)

const (
	freshness    = time.Second // for so long a token file is not looked at again
	maxTokenFile = 64 << 10    // bytes
)

// token is one source of secrets.
type token struct {
	name  string
	write bool
	file  *tokenFile // nil: sums never change
	sums  [][sha256.Size]byte
}

// tokenFile has the secrets of a file, one on each line, and looks for changed ones by itself.
type tokenFile struct {
	path   string
	logger hclog.Logger
	sums   atomic.Pointer[[][sha256.Size]byte]

	looking sync.Mutex
	looked  time.Time
	failing bool
}

// newTokens reads the files. One that cannot be read now lets nobody in until it can.
func newTokens(all []settings.DoorToken, logger hclog.Logger) []*token {
	out := make([]*token, 0, len(all))
	for _, t := range all {
		n := &token{name: t.Name, write: t.Write}
		if t.File != "" {
			n.file = &tokenFile{path: t.File, logger: logger}
			n.file.sums.Store(&[][sha256.Size]byte{})
			n.file.fresh()
		} else {
			n.sums = sumsOf(t.Secret.Reveal())
		}
		out = append(out, n)
	}
	return out
}

// sumsOf are the SHA-256 of the lines of a text that are not empty.
func sumsOf(text string) (sums [][sha256.Size]byte) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			sums = append(sums, sha256.Sum256([]byte(line)))
		}
	}
	return sums
}

// fresh returns the secrets of the file as it is now. One that cannot be used, as in the middle of a replacement, leaves
// things as they are.
func (f *tokenFile) fresh() [][sha256.Size]byte {
	if !f.looking.TryLock() {
		return *f.sums.Load()
	}
	defer f.looking.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= freshness {
		f.looked = now
		f.look()
	}
	return *f.sums.Load()
}

func (f *tokenFile) look() {
	sums, err := readTokens(f.path)
	if err != nil {
		if !f.failing {
			f.logger.Error("token file cannot be used: its last tokens stay good", "file", f.path, "error", err)
		}
		f.failing = true
		return
	}
	if old := *f.sums.Load(); !slices.Equal(old, sums) {
		f.sums.Store(&sums)
		if len(old) > 0 {
			f.logger.Info("read a changed token file", "file", f.path, "tokens", len(sums))
		}
	}
	f.failing = false
}

func readTokens(path string) ([][sha256.Size]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxTokenFile { // reading a pipe would wait for its writer
		return nil, fmt.Errorf("it is no file of at most %d bytes", maxTokenFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	sums := sumsOf(string(text))
	if len(sums) == 0 {
		return nil, errors.New("it is empty")
	}
	return sums, nil
}

// find returns the token that a request shows. It takes the same time for every wrong one.
func find(all []*token, r *http.Request) (found *token, shown bool) {
	header := r.Header.Get("Authorization")
	scheme, secret, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return nil, header != ""
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	for _, t := range all {
		sums := t.sums
		if t.file != nil {
			sums = t.file.fresh()
		}
		for i := range sums {
			if subtle.ConstantTimeCompare(sum[:], sums[i][:]) == 1 {
				found = t
			}
		}
	}
	return found, true
}
