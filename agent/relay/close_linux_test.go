package relay_test

import (
	"os"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/agent/relay/relaytest"
)

// TestCutAfterClose: who still holds the link of a pair that is over may cut it whenever he likes; the loop's descriptors
// may be somebody else's by then.
func TestCutAfterClose(t *testing.T) {
	l, err := relay.NewLoop(relay.LoopOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	client, near := relaytest.Pipe(t, false, false)
	server, far := relaytest.Pipe(t, false, true)
	ended := make(chan struct{})
	link := l.Join(relay.Pair{Client: near, Server: far}, func(relay.Result) { close(ended) })
	client.Close()
	server.Close()
	<-ended
	l.Wait()
	l.Close()
	var readers []*os.File
	for range 8 { // some get the numbers that the loop had
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		readers = append(readers, r)
	}
	link.Cut(outcome.Drained)
	for _, r := range readers {
		r.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := r.Read(make([]byte, 16)); n > 0 {
			t.Errorf("the loop wrote %d bytes to a descriptor that is not its own (%v)", n, err)
		}
	}
}
