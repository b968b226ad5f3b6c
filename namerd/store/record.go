package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"argosy/dtab"
)

const (
	compressFrom = 16 << 10 // bytes of a table's text
	maxText      = 16 << 20 // bytes of what a compressed one may become
)

// record is how stores keep a change: as a line of JSON that people can read.
type record struct {
	Version  string    `json:"version,omitempty"`
	Time     time.Time `json:"time"`
	Action   string    `json:"action"`
	By       string    `json:"by,omitempty"`
	Verified bool      `json:"verified,omitempty"`
	Address  string    `json:"address,omitempty"`
	Message  string    `json:"message,omitempty"`
	Exists   bool      `json:"exists"`
	Dtab     string    `json:"dtab,omitempty"`
	Gzip     []byte    `json:"dtab_gzip,omitempty"`
}

// MarshalChange encodes a change as one line of JSON, without the line's end. The version must be text that is valid
// UTF-8. A large table is compressed.
func MarshalChange(c Change) []byte {
	r := record{Version: string(c.Version), Time: c.At, Action: c.Action, By: c.Author.Name, Verified: c.Author.Verified,
		Address: c.Author.Address, Message: c.Author.Message, Exists: c.Exists, Dtab: c.Dtab.String()}
	if len(r.Dtab) >= compressFrom {
		var b bytes.Buffer
		z := gzip.NewWriter(&b) // writing to memory cannot fail
		_, _ = io.WriteString(z, r.Dtab)
		_ = z.Close()
		r.Dtab, r.Gzip = "", b.Bytes()
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(r) // nor can encoding what consists of texts
	return bytes.TrimSpace(b.Bytes())
}

// UnmarshalChange decodes what MarshalChange has made.
func UnmarshalChange(line []byte) (Change, error) {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return Change{}, fmt.Errorf("record of a change: %w", err)
	}
	if r.Gzip != nil {
		z, err := gzip.NewReader(bytes.NewReader(r.Gzip))
		if err != nil {
			return Change{}, fmt.Errorf("record of a change: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(z, maxText+1))
		switch {
		case err != nil:
			return Change{}, fmt.Errorf("record of a change: %w", err)
		case len(text) > maxText:
			return Change{}, fmt.Errorf("record of a change: its table is larger than %d bytes", maxText)
		}
		r.Dtab = string(text)
	}
	table, err := dtab.Parse(r.Dtab)
	if err != nil {
		return Change{}, fmt.Errorf("record of a change: %w", err)
	}
	return Change{
		Version: Version(r.Version), At: r.Time, Action: r.Action, Exists: r.Exists, Dtab: table,
		Author: Author{Name: r.By, Verified: r.Verified, Address: r.Address, Message: r.Message},
	}, nil
}
