package proxyproto

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Parse parses the header that b starts with, and returns its length. The header refers to b. Other errors than ErrNone
// and ErrShort mean that there is a header, and that it is wrong.
func Parse(b []byte) (h *Header, n int, err error) {
	switch starts := string(b[:min(len(b), len(prefix2))]); {
	case strings.HasPrefix(starts, prefix1):
		return parse1(b)
	case starts == prefix2:
		return parse2(b)
	case strings.HasPrefix(prefix1, starts) || strings.HasPrefix(prefix2, starts):
		return nil, 0, ErrShort
	}
	return nil, 0, ErrNone
}

// Read reads a header, and not a byte more. With ErrNone, and when r ends or fails before it is clear whether there is
// one, read has what was read instead. r should have a deadline.
func Read(r io.Reader) (h *Header, read []byte, err error) {
	for {
		h, _, err = Parse(read)
		switch {
		case err == nil:
			return h, nil, nil
		case !errors.Is(err, ErrShort):
			return nil, read, err
		}
		at := len(read)
		read = append(read, make([]byte, missing(read))...)
		n, err := r.Read(read[at:])
		read = read[:at+n]
		if n == 0 && err != nil {
			if err == io.EOF && at > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, read, fmt.Errorf("reading the PROXY header: %w", err)
		}
	}
}

// missing is how many bytes a header that starts with b has at least still to come. Until it is clear what it is, these
// are few: without a header, what was read is in the way of TLS.
func missing(b []byte) int {
	switch {
	case len(b) >= len(prefix1) && string(b[:len(prefix1)]) == prefix1:
		return missing1(b)
	case len(b) >= len(prefix2):
		return missing2(b)
	case len(b) > 0 && b[0] == '\r':
		return fixed2 - len(b)
	}
	return minSize1 - len(b)
}

// Append appends the header as it is sent. One that is larger than MaxSize is an error.
func (h *Header) Append(b []byte) ([]byte, error) {
	switch h.Version {
	case 1:
		return h.append1(b), nil
	case 2:
		return h.append2(b)
	}
	return nil, fmt.Errorf("PROXY header: there is no version %d", h.Version)
}
