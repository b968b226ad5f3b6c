package mesh

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// linkerd is a connection to the server with the frames that Linkerd sends: HTTP/2 by prior knowledge, no te header, an
// authority that is there and empty, content type application/grpc+proto.
type linkerd struct {
	t    *testing.T
	conn net.Conn

	mu      sync.Mutex // guards all below, and writing
	framer  *http2.Framer
	encoded bytes.Buffer
	encoder *hpack.Encoder
	next    uint32
	calls   map[uint32]*call
	pongs   int
	goAway  *http2.GoAwayFrame
	closed  bool
	window  map[uint32]int // how much may be sent: on the connection by 0, and on streams
	moved   chan struct{}  // a window has grown
	ended   chan struct{}
}

// call is one call, and what has come back of it.
type call struct {
	l  *linkerd
	id uint32

	head, trailers map[string]string
	headEnds       bool // the head was the end
	data           []byte
	reset          *http2.ErrCode
	done           bool
	changed        chan struct{} // closed at every change
}

func dialLinkerd(t *testing.T, address string) *linkerd {
	t.Helper()
	return newLinkerd(t, address, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10 << 20})
}

func newLinkerd(t *testing.T, address string, settings ...http2.Setting) *linkerd {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	l := &linkerd{t: t, conn: conn, framer: http2.NewFramer(conn, conn), next: 1, calls: map[uint32]*call{}, ended: make(chan struct{}),
		window: map[uint32]int{0: 65535}, moved: make(chan struct{}, 1)}
	l.encoder = hpack.NewEncoder(&l.encoded)
	l.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := l.framer.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	go l.read()
	t.Cleanup(l.close)
	return l
}

func (l *linkerd) close() {
	l.conn.Close()
	<-l.ended
}

// read takes frames until the connection ends.
func (l *linkerd) read() {
	defer close(l.ended)
	for {
		f, err := l.framer.ReadFrame()
		l.mu.Lock()
		if err != nil {
			l.closed = true
			for _, c := range l.calls {
				c.change()
			}
			l.mu.Unlock()
			return
		}
		l.take(f)
		l.mu.Unlock()
	}
}

func (l *linkerd) take(f http2.Frame) {
	c := l.calls[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			l.framer.WriteSettingsAck()
		}
	case *http2.WindowUpdateFrame:
		l.window[f.StreamID] += int(f.Increment)
		select {
		case l.moved <- struct{}{}:
		default:
		}
	case *http2.PingFrame:
		if f.IsAck() {
			l.pongs++
		} else {
			l.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		g := *f
		l.goAway = &g
	case *http2.MetaHeadersFrame:
		fields := make(map[string]string)
		for _, h := range f.Fields {
			fields[h.Name] = h.Value
		}
		if c.head == nil {
			c.head, c.headEnds = fields, f.StreamEnded()
		} else {
			c.trailers = fields
		}
		c.done = f.StreamEnded()
		c.change()
	case *http2.DataFrame:
		c.data = append(c.data, f.Data()...)
		c.done = f.StreamEnded()
		if n := uint32(len(f.Data())); n > 0 {
			l.framer.WriteWindowUpdate(0, n)
			l.framer.WriteWindowUpdate(c.id, n)
		}
		c.change()
	case *http2.RSTStreamFrame:
		code := f.ErrCode
		c.reset, c.done = &code, true
		c.change()
	}
}

func (c *call) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// send sends a call, its headers those of Linkerd unless others are given. The body is one message.
func (l *linkerd) send(method string, body []byte, more ...hpack.HeaderField) *call {
	l.t.Helper()
	return l.sendRaw(append([]hpack.HeaderField{
		{Name: ":path", Value: "/io.linkerd.mesh." + method},
		{Name: ":authority", Value: ""},
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: "content-type", Value: "application/grpc+proto"},
	}, more...), frame(0, body))
}

func (l *linkerd) sendRaw(headers []hpack.HeaderField, body []byte) *call {
	l.t.Helper()
	c := l.begin(headers)
	for sent := 0; sent < len(body) || sent == 0; {
		l.mu.Lock()
		n := min(len(body)-sent, 16<<10, l.window[0], l.window[c.id])
		if c.done || l.closed {
			l.mu.Unlock()
			break
		}
		if n == 0 && len(body) > 0 {
			changed := c.changed
			l.mu.Unlock()
			select {
			case <-l.moved:
			case <-changed:
			case <-time.After(patience):
				l.t.Fatal("the server takes no more")
			}
			continue
		}
		l.window[0] -= n
		l.window[c.id] -= n
		err := l.framer.WriteData(c.id, sent+n == len(body), body[sent:sent+n])
		l.mu.Unlock()
		if err != nil {
			l.t.Fatal(err)
		}
		if sent += n; n == 0 {
			break
		}
	}
	return c
}

func (l *linkerd) begin(headers []hpack.HeaderField) *call {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &call{l: l, id: l.next, changed: make(chan struct{})}
	l.window[c.id] = 65535
	l.calls[c.id] = c
	l.next += 2
	l.encoded.Reset()
	for _, h := range headers {
		if err := l.encoder.WriteField(h); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.id, BlockFragment: l.encoded.Bytes(), EndHeaders: true}); err != nil {
		l.t.Fatal(err)
	}
	return c
}

// frame is a message as gRPC sends it.
func frame(compressed byte, message []byte) []byte {
	b := append([]byte{compressed}, binary.BigEndian.AppendUint32(nil, uint32(len(message)))...)
	return append(b, message...)
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wait returns when ok, looking whenever something has come back.
func (c *call) wait(what string, ok func() bool) {
	c.l.t.Helper()
	timeout := time.After(patience)
	for {
		c.l.mu.Lock()
		done, changed, closed := ok(), c.changed, c.l.closed
		c.l.mu.Unlock()
		if done {
			return
		}
		if closed {
			c.l.t.Fatalf("%s: the connection has ended", what)
		}
		select {
		case <-changed:
		case <-timeout:
			c.l.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// message takes the next message off the stream.
func (c *call) message() []byte {
	c.l.t.Helper()
	var header, message []byte
	c.wait("a message", func() bool {
		if len(c.data) >= 5 {
			if n := 5 + int(binary.BigEndian.Uint32(c.data[1:])); len(c.data) >= n {
				header, message, c.data = c.data[:5], c.data[5:n:n], c.data[n:]
				return true
			}
		}
		return c.done
	})
	switch {
	case header == nil:
		c.l.t.Fatalf("the stream has ended: head %v, trailers %v, reset %v", c.head, c.trailers, c.reset)
	case header[0] != 0:
		c.l.t.Fatal("a compressed message")
	}
	return message
}

// status waits for the end and returns its status, from the trailers, where Linkerd reads it.
func (c *call) status() (code, message string) {
	c.l.t.Helper()
	c.wait("the end of the stream", func() bool { return c.done })
	if c.trailers == nil {
		c.l.t.Fatalf("no trailers: head %v, reset %v", c.head, c.reset)
	}
	return c.trailers["grpc-status"], c.trailers["grpc-message"]
}

// quiet fails if anything more has come than was taken.
func (c *call) quiet(d time.Duration) {
	c.l.t.Helper()
	time.Sleep(d)
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if len(c.data) > 0 || c.done {
		c.l.t.Errorf("%d bytes more, ended: %v, trailers %v", len(c.data), c.done, c.trailers)
	}
}

// cancel resets the stream.
func (c *call) cancel() {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.framer.WriteRSTStream(c.id, http2.ErrCodeCancel)
}
