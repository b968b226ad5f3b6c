package relay

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"time"
	"unsafe"
)

// thriftAfter is how long a TLS connection has to be quiet to give its buffers back.
const thriftAfter = time.Second

// innards is where a tls.Conn keeps what it has read: after a handshake about 3 KB, after a bulk transfer 30 KB, for as
// long as it lives, and there is no asking it to let go. Where this version of crypto/tls has no such fields nothing is
// given back, and all else works the same.
type innards struct {
	known                 bool
	rawInput, hand, input uintptr // offsets
}

func findInnards() (in innards) {
	t := reflect.TypeFor[tls.Conn]()
	in.known = true
	for _, f := range []struct {
		name   string
		of     reflect.Type
		offset *uintptr
	}{
		{"rawInput", reflect.TypeFor[bytes.Buffer](), &in.rawInput},
		{"hand", reflect.TypeFor[bytes.Buffer](), &in.hand},
		{"input", reflect.TypeFor[bytes.Reader](), &in.input},
	} {
		field, ok := t.FieldByName(f.name)
		in.known = in.known && ok && field.Type == f.of
		*f.offset = field.Offset
	}
	return in
}

// release gives back what c does not need while nothing comes. Nobody may be reading from c.
func (in *innards) release(c *tls.Conn) {
	if !in.known {
		return
	}
	rawInput := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), in.rawInput))
	hand := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), in.hand))
	input := (*bytes.Reader)(unsafe.Add(unsafe.Pointer(c), in.input))
	if rawInput.Len() > 0 || hand.Len() > 0 || input.Len() > 0 {
		return
	}
	*rawInput, *hand, *input = bytes.Buffer{}, bytes.Buffer{}, bytes.Reader{}
}

// touch notes that f has buffers to give back some time.
func (w *worker) touch(f *Flow) {
	if f.touched || !w.loop.innards.known {
		return
	}
	f.touched = true
	if len(w.touched) == 0 {
		w.thrift = w.now + int64(thriftAfter)
	}
	w.touched = append(w.touched, f)
}

// save has the flows that have become quiet give back their buffers.
func (w *worker) save() {
	if len(w.touched) == 0 || w.now < w.thrift {
		return
	}
	w.thrift = w.now + int64(thriftAfter)
	left := w.touched[:0]
	for _, f := range w.touched {
		if f.state != over && w.now-f.active.Load() < int64(thriftAfter) {
			left = append(left, f)
			continue
		}
		f.touched = false
		for i := range f.ends {
			if t := f.ends[i].tls; t != nil {
				w.loop.innards.release(t.conn)
			}
		}
	}
	clear(w.touched[len(left):])
	w.touched = left
}
