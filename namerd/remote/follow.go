package remote

import (
	"context"
	"sync"
	"time"

	"argosy/internal/backoff"
)

// source is one thing that is followed at the namerd.
type source[T any] struct {
	stream string // query of its stream
	kind   kind   // of the stream
	poll   string // query of the plain request for it
	polled kind
	// take makes the new value of a document; old is the one before. Its error ends the stream, or fails the poll, and the
	// old value stays.
	take func(document []byte, old state[T]) (T, error)
	// takePolled is take for what a plain request has answered.
	takePolled func(document []byte, old state[T]) (T, error)
}

// state is what is known of a thing.
type state[T any] struct {
	value T
	known bool
	err   error // why it is not known, or may be out of date
}

// follower keeps one thing up to date: by its stream, and where that does not work by polling.
type follower[T any] struct {
	in      *Interpreter
	source  source[T]
	publish func(state[T])
	changed chan struct{} // has one in it when working has changed

	mu      sync.Mutex
	state   state[T]
	working bool      // the stream that is open has said something
	since   time.Time // when it stopped working
	trouble error     // why
}

// follow publishes a thing now and at every change, until ctx ends; then it returns.
func follow[T any](ctx context.Context, in *Interpreter, s source[T], publish func(state[T])) {
	in.follows.Add(1)
	defer in.follows.Add(-1)
	f := &follower[T]{in: in, source: s, publish: publish, changed: make(chan struct{}, 1), since: time.Now()}
	if in.options.Mode == Poll {
		f.pollAlways(ctx)
		return
	}
	var streaming sync.WaitGroup
	defer streaming.Wait()
	streaming.Go(func() { f.streams(ctx) })
	f.mind(ctx)
}

// streams keeps a stream open.
func (f *follower[T]) streams(ctx context.Context) {
	pause := backoff.New(f.in.times.shortest, f.in.times.longest)
	for {
		begun := time.Now()
		err := f.in.server.stream(ctx, f.source.kind, f.source.stream, func(document []byte) error {
			return f.took(document, f.source.take, true)
		})
		if ctx.Err() != nil {
			return
		}
		f.broke(err)
		if time.Since(begun) > f.in.times.longest {
			pause.Reset()
		}
		// Also after a clean end: a server that ends every stream is not to be hammered.
		if backoff.Sleep(ctx, min(pause.Next(), f.in.longest())) != nil {
			return
		}
	}
}

// took puts a document into effect.
func (f *follower[T]) took(document []byte, take func([]byte, state[T]) (T, error), streamed bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !streamed && f.working { // it has come in between, and knows better
		return nil
	}
	v, err := take(document, f.state)
	if err != nil {
		return err
	}
	f.state = state[T]{value: v, known: true}
	if streamed && !f.working {
		f.working, f.trouble = true, nil
		f.ring()
	}
	f.publish(f.state)
	return nil
}

// broke notes that the stream has ended. What is known is not called stale at once: most streams are back in a moment.
func (f *follower[T]) broke(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.working {
		f.working, f.since = false, time.Now()
		f.ring()
	}
	f.trouble = err
	if !f.state.known {
		f.failed(err)
	}
}

// failed publishes why the value is not known or may be out of date. The caller holds mu.
func (f *follower[T]) failed(err error) {
	f.state.err = err
	f.publish(f.state)
}

// ring wakes mind.
func (f *follower[T]) ring() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// mind does something about a stream that does not work: after some patience the value is stale, and it is polled.
func (f *follower[T]) mind(ctx context.Context) {
	timer := time.NewTimer(f.in.times.patience)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
			f.mu.Lock()
			if !f.working {
				timer.Reset(f.in.times.patience - time.Since(f.since))
			}
			f.mu.Unlock()
		case <-timer.C:
			f.mu.Lock()
			silent := !f.working
			if silent && f.state.err == nil && f.in.options.Mode == Stream {
				f.failed(f.why())
			}
			f.mu.Unlock()
			if silent && f.in.options.Mode == Auto {
				f.pollOnce(ctx)
				timer.Reset(jitter(f.in.times.poll))
			}
		}
	}
}

// why words what is wrong with the stream. The caller holds mu.
func (f *follower[T]) why() error {
	if f.trouble != nil {
		return f.trouble
	}
	return errSilent
}

// pollAlways asks for the value again and again.
func (f *follower[T]) pollAlways(ctx context.Context) {
	pause := backoff.New(f.in.times.shortest, f.in.times.longest)
	for {
		wait := jitter(f.in.times.poll)
		if !f.pollOnce(ctx) { // connections may be waiting for a name that is not known yet
			wait = min(wait, pause.Next(), f.in.longest())
		}
		if backoff.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// pollOnce asks for the value, and reports whether one is known after that.
func (f *follower[T]) pollOnce(ctx context.Context) bool {
	document, err := f.in.server.get(ctx, f.source.polled, f.source.poll)
	if err == nil {
		err = f.took(document, f.source.takePolled, false)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && ctx.Err() == nil && !f.working {
		f.failed(err)
	}
	return f.state.known
}
