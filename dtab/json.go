package dtab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

type jsonDentry struct {
	Prefix *string `json:"prefix"`
	Dst    *string `json:"dst"`
}

// MarshalJSON writes the table as an array of {"prefix","dst"} in canonical form. Weights have two decimals, as in
// String. Use an encoder with SetEscapeHTML(false) to have "&" and ">" unescaped, as Namerd writes them.
func (d Dtab) MarshalJSON() ([]byte, error) {
	entries := make([]jsonDentry, len(d))
	for i, e := range d {
		prefix, dst := e.Prefix.String(), TreeString(e.Dst)
		entries[i] = jsonDentry{&prefix, &dst}
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
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var entries []*jsonDentry
	if err := dec.Decode(&entries); err != nil {
		return fmt.Errorf("decode dtab: %w", err)
	}
	if entries == nil {
		return errors.New("decode dtab: null is not a dtab")
	}
	table := make(Dtab, 0, len(entries))
	for i, e := range entries {
		if e == nil || e.Prefix == nil || e.Dst == nil {
			return fmt.Errorf("decode dtab: entry %d: prefix and dst must both be given", i)
		}
		prefix, err := ParsePrefix(*e.Prefix)
		if err != nil {
			return fmt.Errorf("decode dtab: entry %d: prefix: %w", i, err)
		}
		dst, err := ParseTree(*e.Dst)
		if err != nil {
			return fmt.Errorf("decode dtab: entry %d: dst: %w", i, err)
		}
		table = append(table, Dentry{Prefix: prefix, Dst: dst})
	}
	*d = table
	return nil
}
