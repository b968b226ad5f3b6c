package resp

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// answer runs one command against a peer that sends reply and hangs up.
func answer(t *testing.T, reply string) (string, bool, error) {
	t.Helper()
	a, b := net.Pipe()
	go func() {
		buf := make([]byte, 1024)
		n := 0
		for !strings.HasSuffix(string(buf[:n]), "GET\r\n$1\r\nk\r\n") {
			m, err := b.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
		}
		io.WriteString(b, reply)
		b.Close()
	}()
	c := NewConn(a)
	defer c.Close()
	return c.Do(5*time.Second, "GET", "k")
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		reply, text string
		ok          bool
		err         any // nil, ErrProtocol, io.EOF or an Error
	}{
		{"+OK\r\n", "OK", true, nil},
		{":42\r\n", "42", true, nil},
		{"$5\r\nhe\r\no\r\n", "he\r\no", true, nil},
		{"$0\r\n\r\n", "", true, nil},
		{"$-1\r\n", "", false, nil},
		{"-ERR no\r\n", "", false, Error("ERR no")},
		{"$5\r\nhelloXX", "", false, ErrProtocol},
		{"$99999999\r\n", "", false, ErrProtocol},
		{"$-2\r\n", "", false, ErrProtocol},
		{"$x\r\n", "", false, ErrProtocol},
		{"*1\r\n$1\r\na\r\n", "", false, ErrProtocol},
		{"OK\n", "", false, ErrProtocol},
		{"\r\n", "", false, ErrProtocol},
		{strings.Repeat("a", 5000), "", false, ErrProtocol},
		{"$5\r\nhe", "", false, io.ErrUnexpectedEOF},
		{"", "", false, io.EOF},
	} {
		text, ok, err := answer(t, c.reply)
		if text != c.text || ok != c.ok {
			t.Errorf("%.40q: got %q, %v", c.reply, text, ok)
		}
		switch want := c.err.(type) {
		case nil:
			if err != nil {
				t.Errorf("%.40q: %v", c.reply, err)
			}
		case error:
			if !errors.Is(err, want) {
				t.Errorf("%.40q: got error %v, want %v", c.reply, err, want)
			}
		}
	}
}
