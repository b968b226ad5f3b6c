// Package snapshot keeps what is known of something that others decide over a restart: one small file for each thing, so
// that a process that starts while those others cannot be asked goes on with what they said last.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// Suffix is that of all files. The rest of a file's name stands for what it is of.
	Suffix = ".snapshot.json"
	// Every is the time between two writes of one file.
	Every = 10 * time.Second

	format  = "argosy snapshot"
	version = 1

	longest   = 1 << 20            // bytes of a file; what is larger is not kept
	oldest    = 24 * time.Hour     // used; by then its addresses may well be somebody else's
	forgotten = 7 * 24 * time.Hour // files that old are removed
	renewed   = 10 * time.Minute   // what has not changed is written again after so long, to tell its age
)

// Folder is a folder that keeps the last good sets over a restart. Its methods may be called from any goroutine.
type Folder struct {
	dir    string
	scope  string
	logger hclog.Logger
}

// Open makes the folder, unless it is there, and removes files that have not been written for a week. A folder
// that others can write to is refused: what is in it decides where connections go. scope says of which Consul the sets
// are: several may share a folder.
func Open(dir, scope string, logger hclog.Logger) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the snapshot folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the snapshot folder: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("snapshot folder %s can be written to by others: make it 0700", dir)
	}
	s := &Folder{dir: dir, scope: scope, logger: logger}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return nil, fmt.Errorf("write to the snapshot folder: %w", err)
	}
	probe.Close()
	os.Remove(probe.Name())
	return s, s.clean()
}

// clean removes what is too old to be of use, and what a write has left behind.
func (s *Folder) clean() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("read the snapshot folder: %w", err)
	}
	for _, e := range entries {
		if !strings.Contains(e.Name(), Suffix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > forgotten {
			os.Remove(filepath.Join(s.dir, e.Name()))
		}
	}
	return nil
}

// File is the file for what identity says, all of which has to be the same for the file to be used.
func (s *Folder) File(identity string) *File {
	if s == nil {
		return nil
	}
	identity = s.scope + " " + identity
	sum := sha256.Sum256([]byte(identity))
	path := filepath.Join(s.dir, hex.EncodeToString(sum[:16])+Suffix)
	return &File{path: path, identity: identity, logger: s.logger.With("file", path)}
}

// snapshot is the content of a file.
type snapshot struct {
	Format   string          `json:"format"`
	Version  int             `json:"version"`
	Identity string          `json:"identity"`
	At       time.Time       `json:"at"`
	Content  json.RawMessage `json:"content"`
}

// File is one snapshot file. It is used by one goroutine at a time; a nil one does nothing.
type File struct {
	path, identity string
	logger         hclog.Logger

	pending any       // to be written; nil: nothing
	written []byte    // the content of the file, as far as it is known
	last    time.Time // when it was written
	broken  bool      // the last write failed, and the log says so
}

// Keep has content written by the next flush that is due.
func (s *File) Keep(content any) {
	if s != nil {
		s.pending = content
	}
}

// Due is when flush has something to do; zero: never.
func (s *File) Due() time.Time {
	if s == nil || s.pending == nil {
		return time.Time{}
	}
	return s.last.Add(Every)
}

// Flush writes what is pending, unless the last write was a moment ago.
func (s *File) Flush() {
	if s == nil || s.pending == nil || time.Now().Before(s.Due()) {
		return
	}
	s.Finish()
}

// Finish writes what is pending.
func (s *File) Finish() {
	if s == nil || s.pending == nil {
		return
	}
	err := s.write(s.pending)
	s.pending = nil
	if err != nil && !s.broken {
		s.logger.Warn("snapshot was not written", "error", err)
	}
	s.broken = err != nil
}

func (s *File) write(content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if now := time.Now(); bytes.Equal(text, s.written) && now.Sub(s.last) < renewed {
		return nil
	}
	file, err := json.Marshal(snapshot{format, version, s.identity, time.Now().UTC(), text})
	if err != nil {
		return err
	}
	s.last, s.written = time.Now(), text
	if len(file) > longest {
		os.Remove(s.path)
		return fmt.Errorf("it would have %d bytes, more than %d", len(file), longest)
	}
	// Under another name first: whoever reads finds the old or the new one, whole.
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*") // mode 0600
	if err != nil {
		s.written = nil
		return err
	}
	_, err = f.Write(file)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		s.written = nil // to be tried again
		os.Remove(f.Name())
	}
	return err
}

// Drop removes the file: what it says is not so any more.
func (s *File) Drop() {
	if s == nil {
		return
	}
	s.pending, s.written = nil, nil
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.logger.Warn("snapshot was not removed", "error", err)
	}
}

// Load reads the file into content, which is only to be used if ok. at is when it was so.
func (s *File) Load(content any) (at time.Time, ok bool) {
	if s == nil {
		return time.Time{}, false
	}
	file, err := s.read()
	if err == nil {
		err = json.Unmarshal(file.Content, content)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, false
	}
	if err != nil {
		s.logger.Warn("snapshot is not used", "error", err)
		return time.Time{}, false
	}
	s.written = file.Content
	return file.At, true
}

func (s *File) read() (*snapshot, error) {
	if info, err := os.Lstat(s.path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err != nil {
		return nil, err
	}
	if len(text) > longest {
		return nil, fmt.Errorf("it has more than %d bytes", longest)
	}
	var file snapshot
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	switch age := time.Since(file.At); {
	case file.Format != format || file.Identity != s.identity:
		return nil, errors.New("it is of something else")
	case file.Version != version:
		return nil, fmt.Errorf("it has the version %d, not %d", file.Version, version)
	case age > oldest:
		return nil, fmt.Errorf("it is %v old, more than %v", age.Round(time.Minute), oldest)
	case age < -time.Hour:
		return nil, fmt.Errorf("it is from the future: %v", file.At)
	}
	return &file, nil
}
