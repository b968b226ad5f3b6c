package dtab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

type jsonDentry struct {
	Prefix string `json:"prefix"`
	Dst    string `json:"dst"`
}

// MarshalJSON writes the table as an array of {"prefix","dst"} in canonical form. Weights have two decimals, as in
// String. Use an encoder with SetEscapeHTML(false) to have "&" and ">" unescaped, as Namerd writes them.
func (d Dtab) MarshalJSON() ([]byte, error) {
	entries := make([]jsonDentry, len(d))
	for i, e := range d {
		entries[i] = jsonDentry{e.Prefix.String(), TreeString(e.Dst)}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(entries); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// UnmarshalJSON reads an array of objects with exactly the keys prefix and dst, both strings of the language.
func (d *Dtab) UnmarshalJSON(body []byte) error {
	table, err := decode(body)
	if err != nil {
		return fmt.Errorf("decode dtab: %w", err)
	}
	*d = table
	return nil
}

func decode(body []byte) (Dtab, error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(body, &entries); err != nil {
		return nil, err
	}
	if entries == nil {
		return nil, errors.New("null is not a dtab")
	}
	table := make(Dtab, len(entries))
	for i, entry := range entries {
		if err := table[i].decode(entry); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return table, nil
}

func (e *Dentry) decode(body []byte) error {
	var keys map[string]*string // and no struct: its keys would be taken in any case of letters
	if err := json.Unmarshal(body, &keys); err != nil {
		return err
	}
	if keys["prefix"] == nil || keys["dst"] == nil {
		return errors.New("prefix and dst must both be given")
	}
	for key := range keys {
		if key != "prefix" && key != "dst" {
			return fmt.Errorf("unknown key %q", key)
		}
	}
	var err error
	if e.Prefix, err = ParsePrefix(*keys["prefix"]); err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	if e.Dst, err = ParseTree(*keys["dst"]); err != nil {
		return fmt.Errorf("dst: %w", err)
	}
	return nil
}
