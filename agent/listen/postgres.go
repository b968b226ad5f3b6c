package listen

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"argosy/agent/outcome"
)

// Postgres is the value of Inbound.StartTLS of clients that have asked for TLS in Postgres's way.
const Postgres = "postgres"

// The codes that a Postgres client may begin with, after the length (the protocol's chapter on message formats).
const (
	cancelRequest = 1234<<16 | 5678
	sslRequest    = 1234<<16 | 5679
	gssRequest    = 1234<<16 | 5680
	majorVersion  = 3 // in the upper half of a StartupMessage's

	requestSize = 8 // in bytes, of those requests that are only a length and a code
)

// speech is what a client has begun with.
type speech uint8

const (
	other       speech = iota // TLS, or anything else
	wantsTLS                  // a Postgres client that has been told to begin with TLS
	plaintextPG               // a Postgres client that does not ask for TLS
)

// greet reads the first bytes of a client, which TLS never begins with a zero, and answers a Postgres client's request
// for TLS. That much is read and no more; what is not answered is in early, also with an error.
func greet(c io.ReadWriter) (s speech, early []byte, err error) {
	for asked := false; ; asked = true {
		if early, err = first(c); err != nil || len(early) < requestSize || early[0] != 0 {
			return other, early, err
		}
		size, code := binary.BigEndian.Uint32(early), binary.BigEndian.Uint32(early[4:])
		switch {
		case size == requestSize && code == sslRequest:
			_, err = c.Write([]byte("S"))
			return wantsTLS, nil, err
		case size == requestSize && code == gssRequest && !asked:
			if _, err = c.Write([]byte("N")); err != nil { // it may ask for TLS now
				return other, nil, err
			}
		case code == cancelRequest || code>>16 == majorVersion:
			return plaintextPG, early, nil
		default:
			return other, early, nil
		}
	}
}

// first reads the 8 bytes of a request, or less as soon as it is clear that it is none.
func first(r io.Reader) ([]byte, error) {
	b := make([]byte, 0, requestSize)
	for len(b) < requestSize {
		n, err := r.Read(b[len(b):requestSize])
		b = b[:len(b)+n]
		if n == 0 && err != nil {
			return b, err
		}
		if len(b) > 0 && b[0] != 0 {
			break
		}
	}
	return b, nil
}

// refusePlain tells a Postgres client that it needs TLS. That a request to cancel is refused as well keeps bytes that
// look like one from getting past the handshake.
func refusePlain(c *prefixed) error {
	const (
		why = "this listener takes TLS only"
		// patience is what a client may take to send its message and to take the answer.
		patience = time.Second
		// longest is the longest message, in bytes, that Postgres reads before it knows a client.
		longest = 10000
	)
	c.SetDeadline(time.Now().Add(patience))
	// What is not read makes closing a reset, in which the answer could be lost.
	io.CopyN(io.Discard, c, int64(min(binary.BigEndian.Uint32(c.early), longest)))
	c.Write(refusal(why))
	return outcome.Errorf(outcome.TLS, "Postgres client without TLS: %s", why)
}

// refusal is a Postgres server's answer to a client that it does not take.
func refusal(why string) []byte {
	const state = "28000" // invalid_authorization_specification, as Postgres itself says where it wants TLS
	fields := fmt.Appendf(nil, "SFATAL\x00VFATAL\x00C%s\x00M%s\x00\x00", state, why)
	return append(binary.BigEndian.AppendUint32([]byte("E"), uint32(4+len(fields))), fields...)
}
