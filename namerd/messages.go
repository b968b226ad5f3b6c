package namerd

import (
	"bytes"
	"context"
	"iter"
	"sync/atomic"

	"argosy/internal/watch"
)

// message is one state of what streams tell. All streams of one thing share it, so that it is written down once for each
// change and not for each reader.
type message struct {
	known bool
	key   string // the same for values that are the same to a reader
	body  *atomic.Pointer[[]byte]
}

func (m message) equal(n message) bool { return m.known == n.known && m.key == n.key }

// document is what is sent, with its newline; nil to say nothing.
func (m message) document() []byte {
	if !m.known {
		return nil
	}
	return *m.body.Load()
}

// teller makes messages of values. It is used by one goroutine.
type teller struct {
	set  func(message)
	last message
}

// tell publishes a value. One whose key is that of the value before wakes nobody: only who comes later gets its body.
func (t *teller) tell(key string, body []byte) {
	if t.last.known && t.last.key == key {
		t.last.body.Store(&body)
		return
	}
	t.last = message{known: true, key: key, body: new(atomic.Pointer[[]byte])}
	t.last.body.Store(&body)
	t.set(t.last)
}

// tellLine publishes a document that is its own key.
func (t *teller) tellLine(document []byte) {
	t.tell(string(document), document)
}

// documents yields what a stream sends of a value: every state that is another to its reader than the one before. A
// reader that is slow misses states, never the newest.
func documents(ctx context.Context, value watch.Reader[message]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var last message
		for m := range watch.Values(ctx, value) {
			if !m.known || m.equal(last) {
				continue
			}
			last = m
			if document := m.document(); document != nil && !yield(document) {
				return
			}
		}
	}
}

// changes drops the documents that equal the one before.
func changes(all iter.Seq[[]byte]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var last []byte
		for document := range all {
			if bytes.Equal(document, last) {
				continue
			}
			last = document
			if !yield(document) {
				return
			}
		}
	}
}
