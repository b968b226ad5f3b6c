package consulclient

import (
	"context"
	"fmt"
	"io"
)

// cancelling ends a request's deadline once its answer has been read.
type cancelling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *cancelling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// bounded is the body of an answer, which fails where it goes on for too long. Beyond a small size it is read only while
// it has a turn. It is used by one goroutine at a time.
type bounded struct {
	io.ReadCloser
	ctx   context.Context
	turns chan struct{}
	read  int64
	turn  bool
}

func (b *bounded) Read(p []byte) (int, error) {
	limit := int64(smallAnswer)
	if b.read >= smallAnswer {
		if err := b.await(); err != nil {
			return 0, err
		}
		limit = largestAnswer
	}
	if b.read >= limit {
		return 0, fmt.Errorf("the answer has more than %d bytes", largestAnswer)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), limit-b.read)])
	b.read += int64(n)
	if err != nil {
		b.yield()
	}
	return n, err
}

// await waits for a turn, if b has none.
func (b *bounded) await() error {
	if b.turn {
		return nil
	}
	select {
	case b.turns <- struct{}{}:
		b.turn = true
		return nil
	case <-b.ctx.Done():
		return fmt.Errorf("read a large answer beside others: %w", b.ctx.Err())
	}
}

// yield gives the turn back.
func (b *bounded) yield() {
	if b.turn {
		b.turn = false
		<-b.turns
	}
}

// Close also gives the turn back.
func (b *bounded) Close() error {
	b.yield()
	return b.ReadCloser.Close()
}
