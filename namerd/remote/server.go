package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"argosy/internal/namerdhttp"

	"github.com/hashicorp/go-hclog"
)

// kind is a part of the API; the word is the last one of its path, and the label of metrics.
type kind string

const (
	kindBind    kind = "bind"
	kindAddr    kind = "addr"
	kindResolve kind = "resolve"
)

// server is the namerd, over one pool of connections.
type server struct {
	peer       *namerdhttp.Peer
	base       string // for messages
	namespace  string
	maxStreams int64
	logger     hclog.Logger
	metrics    *metrics
	polls      chan struct{} // holds one for each request that is no stream
	open       atomic.Int64  // streams, those included that are about to be
	alive      atomic.Int64  // streams that the namerd has accepted

	mu     sync.Mutex
	known  bool     // has answered
	failed [2]error // why the last stream, and the last poll, could not be had; nil if it could
}

func newServer(o Options) (*server, error) {
	peer, err := namerdhttp.New(o.Address, namerdhttp.Options{
		TokenFile: o.TokenFile, CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &server{
		peer: peer, base: peer.Base, namespace: o.Namespace, maxStreams: int64(o.MaxStreams), logger: o.Logger,
		metrics: newMetrics(o.Registry), polls: make(chan struct{}, maxPolls),
	}, nil
}

// saidError is what the namerd itself says is wrong, as opposed to not being reached.
type saidError struct{ text string }

func (e *saidError) Error() string { return e.text }

func said(format string, a ...any) error { return &saidError{fmt.Sprintf(format, a...)} }

// errTooManyStreams says that a name has to do without.
var errTooManyStreams = errors.New("too many streams are open: raise max_streams, or use mode = \"poll\"")

// The two ways to ask.
const (
	streaming = iota
	polling
)

// health is whether it has answered, and what is wrong now.
func (s *server) health() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known, cmp.Or(s.failed[polling], s.failed[streaming])
}

// note remembers how a request went. A name that the namerd does not know itself yet is not answered, so that being late
// is no trouble while there are streams. The log has one line when trouble begins and one when it ends, whatever the
// number of names.
func (s *server) note(way int, k kind, err error) {
	s.metrics.requests.WithLabelValues(string(k), result(err)).Inc()
	s.mu.Lock()
	before := s.failed
	s.known = s.known || err == nil
	switch {
	case errors.Is(err, namerdhttp.ErrLate) && s.alive.Load() > 0:
	case err == nil && way == streaming: // which also ends the polls
		s.failed = [2]error{}
	default:
		s.failed[way] = err
	}
	now := s.failed
	s.mu.Unlock()
	switch {
	case now[way] != nil && before[way] == nil && way == streaming:
		s.logger.Warn("namerd has no streams for us; what is known stays", "address", s.base, "error", err)
	case now[way] != nil && before[way] == nil:
		s.logger.Warn("namerd cannot be polled; what is known stays", "address", s.base, "error", err)
	case now == [2]error{} && before != now:
		s.logger.Info("namerd answers again", "address", s.base)
	}
}

// do sends one request. The answer is a 200, and its body is to be closed.
func (s *server) do(ctx context.Context, k kind, query string) (*http.Response, error) {
	answer, err := s.peer.Do(ctx, http.MethodGet, string(k)+"/"+s.namespace+"?"+query, nil, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, longestText+1)) // the status says enough without it
	return nil, s.refused(answer.Status, text)
}

// refused words an answer that is no success.
func (s *server) refused(status string, body []byte) error {
	if text := brief(body); text != "" {
		return said("namerd at %s answers %s: %s", s.base, status, text)
	}
	return said("namerd at %s answers %s", s.base, status)
}

// get reads the answer to one request.
func (s *server) get(ctx context.Context, k kind, query string) (document []byte, err error) {
	select {
	case s.polls <- struct{}{}:
		defer func() { <-s.polls }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, namerdhttp.RequestTimeout)
	defer cancel()
	defer func() {
		if ctx.Err() == nil {
			s.note(polling, k, err)
		}
	}()
	r, err := s.do(limited, k, query)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	document, err = io.ReadAll(io.LimitReader(r.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, s.peer.Unreachable(err)
	case len(document) > maxDocument:
		return nil, said("namerd at %s: an answer has more than %d bytes", s.base, maxDocument)
	}
	return document, nil
}

// stream hands over one document after the other until the stream ends, which is always an error, or take returns one.
func (s *server) stream(ctx context.Context, k kind, query string, take func(document []byte) error) (err error) {
	if s.open.Add(1) > s.maxStreams {
		s.open.Add(-1)
		return errTooManyStreams
	}
	defer s.open.Add(-1)
	ctx, cancel := context.WithCancel(ctx) // a body that is not at its end is given up at once
	defer cancel()
	r, err := s.do(ctx, k, query)
	if ctx.Err() == nil {
		s.note(streaming, k, err)
	}
	if err != nil {
		return err
	}
	defer r.Body.Close()
	s.alive.Add(1)
	s.metrics.streams.Inc()
	defer func() {
		s.alive.Add(-1)
		s.metrics.streams.Dec()
	}()
	body := &bounded{from: r.Body}
	documents := json.NewDecoder(body) // values, however they are cut into chunks
	for {
		body.left = maxDocument
		var document json.RawMessage
		if err := documents.Decode(&document); err != nil {
			return s.streamEnded(err, documents.Buffered())
		}
		if err := take(document); err != nil {
			return err
		}
	}
}

// streamEnded words the end of a stream. Namerd ends one with a text that is not JSON when something is wrong.
func (s *server) streamEnded(err error, rest io.Reader) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errTooLong):
		return said("namerd at %s: a document of a stream has more than %d bytes", s.base, maxDocument)
	case errors.As(err, &syntax):
		text, _ := io.ReadAll(io.LimitReader(rest, longestText+1)) // from memory
		if line := brief(text); line != "" {
			return said("namerd at %s: %s", s.base, line)
		}
		return said("namerd at %s: a stream is no JSON", s.base)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("namerd at %s has ended a stream", s.base)
	}
	return s.peer.Unreachable(err)
}

// longestText is how much of a text of the namerd is shown.
const longestText = 300

// brief is the first line of a text, shortened, without what would upset a terminal.
func brief(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
	if len(line) > longestText {
		line = line[:longestText] + "..."
	}
	return strings.TrimSpace(line)
}

var errTooLong = errors.New("too long")

// bounded fails a reader that takes more than what is left.
type bounded struct {
	from io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.from.Read(p)
	b.left -= n
	return n, err
}
