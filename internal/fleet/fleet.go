// Package fleet asks agents over their admin endpoints: how they delegate a name, what a table would change for them,
// and how the connections of a name fare.
package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/internal/plan"
	"argosy/internal/settings"
	"argosy/internal/tlsfiles"
)

const (
	requestTimeout = 10 * time.Second // beyond what an agent may take by itself
	maxAnswer      = 64 << 20         // bytes
	mostAtOnce     = 32               // agents that are asked at a time
)

// Options are how agents are reached. All may be left out.
type Options struct {
	// TokenFile holds a bearer token to send, in its first line; read at each request.
	TokenFile string
	// For https addresses: the CA certificates (PEM) that agents' certificates are checked against, the system's unless set, and a
	// certificate with its key to show.
	CAFile, CertFile, KeyFile string
}

// secured reports whether agents are meant to speak TLS.
func (o Options) secured() bool { return o.CAFile+o.CertFile+o.KeyFile != "" }

// Fleet is a number of agents. Its methods may be called from any goroutine.
type Fleet struct {
	agents  []*agent
	options Options
}

// agent is one of them.
type agent struct {
	name string // as users write it, in full
	base string // URL
	http *http.Client
}

// New makes a fleet of the agents at these addresses: base URLs such as http://127.0.0.1:9990, Unix sockets such as
// unix:/run/argosy/admin.sock, or mere host:port, which are for https where the options have to do with TLS.
func New(agents []string, o Options) (*Fleet, error) {
	files, err := tlsfiles.New(o.CertFile, o.KeyFile, o.CAFile)
	if err != nil {
		return nil, err
	}
	f := &Fleet{options: o}
	seen := map[string]bool{}
	for _, text := range agents {
		a, err := newAgent(text, o, files)
		if err != nil {
			return nil, err
		}
		if !seen[a.name] {
			seen[a.name] = true
			f.agents = append(f.agents, a)
		}
	}
	return f, nil
}

func newAgent(text string, o Options, files *tlsfiles.Files) (*agent, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2}
	a := &agent{http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if path, local := strings.CutPrefix(text, "unix:"); local || strings.HasPrefix(text, "/") {
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("address of an agent %q: the path of a socket begins with /, such as unix:/run/argosy/admin.sock", text)
		}
		path = "/" + strings.TrimLeft(path, "/")
		a.name, a.base = "unix:"+path, "http://localhost"
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
		return a, nil
	}
	a.name = text
	if !strings.Contains(text, "://") {
		scheme := "http://"
		if o.secured() {
			scheme = "https://"
		}
		a.name = scheme + text
	}
	a.name = strings.TrimRight(a.name, "/")
	a.base = a.name
	u, err := url.Parse(a.base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("address of an agent %q is no URL: give that of its admin endpoint, such as http://127.0.0.1:9990 or unix:/run/argosy/admin.sock", text)
	}
	transport.TLSClientConfig = files.Client(u.Hostname())
	return a, nil
}

// Close gives up connections that are idle.
func (f *Fleet) Close() {
	for _, a := range f.agents {
		a.http.CloseIdleConnections()
	}
}

// Size is how many agents there are.
func (f *Fleet) Size() int { return len(f.agents) }

// ErrNotAgent says that what answers is no agent, or one that is too old for the question.
var ErrNotAgent = errors.New("is no agent, or an older one")

// ErrUnauthorized says that an agent does not know who is asking.
var ErrUnauthorized = errors.New("401 Unauthorized")

// ask sends one request to an agent and reads its answer into v.
func (f *Fleet) ask(ctx context.Context, method string, a *agent, path string, query url.Values, body string, v any) error {
	r, err := http.NewRequestWithContext(ctx, method, a.base+path+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		return err
	}
	if f.options.TokenFile != "" {
		token, err := settings.TokenFromFile(f.options.TokenFile)
		if err != nil {
			return fmt.Errorf("token file: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/dtab")
	}
	resp, err := a.http.Do(r)
	if err != nil {
		return unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		var refused struct{ Error string }
		switch {
		case resp.StatusCode == http.StatusUnauthorized:
			return ErrUnauthorized
		case json.Unmarshal(text, &refused) == nil && refused.Error != "":
			return errors.New(refused.Error)
		case resp.StatusCode == http.StatusBadRequest && strings.Contains(string(text), "HTTP request to an HTTPS server"): // as Go says it
			return errors.New("speaks TLS; say https:// in its address")
		case resp.StatusCode == http.StatusNotFound:
			return ErrNotAgent
		}
		return fmt.Errorf("answers %s", resp.Status)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return ErrNotAgent
	}
	return nil
}

// unreachable words a failed request without the URL, which is said elsewhere.
func unreachable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("does not answer in time")
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("cannot be reached: %w", err)
}

// each asks all agents, a number of them at a time, and returns when all have answered.
func (f *Fleet) each(ask func(i int, a *agent)) {
	var all sync.WaitGroup
	turn := make(chan struct{}, mostAtOnce)
	for i, a := range f.agents {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			ask(i, a)
		})
	}
	all.Wait()
}

// Explain asks the first agent how it delegates a name, with the entries of local behind all others. The name may be
// that of a live connection, which then is given by its id instead.
func (f *Fleet) Explain(ctx context.Context, name, connection, local string) (*explanation.Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var x explanation.Explanation
	q := url.Values{"name": {name}, "connection": {connection}, "dtab": {local}}
	if err := f.ask(ctx, http.MethodGet, f.agents[0], "/v1/explain", q, "", &x); err != nil {
		return nil, fmt.Errorf("agent at %s: %w", f.agents[0].name, err)
	}
	if x.Tree.Kind == "" {
		return nil, fmt.Errorf("agent at %s: %w", f.agents[0].name, ErrNotAgent)
	}
	return &x, nil
}

// Plan asks all agents what a table would change as that of the namespace, and waits for what they do not know yet for
// so long.
func (f *Fleet) Plan(ctx context.Context, namespace string, table dtab.Dtab, wait time.Duration) *plan.Fleet {
	ctx, cancel := context.WithTimeout(ctx, wait+requestTimeout)
	defer cancel()
	answers, errs := make([]plan.Answer, len(f.agents)), make([]error, len(f.agents))
	q := url.Values{"namespace": {namespace}, "wait": {wait.String()}}
	body := table.String()
	f.each(func(i int, agent *agent) {
		errs[i] = f.ask(ctx, http.MethodPost, agent, "/v1/plan", q, body, &answers[i])
		if errs[i] == nil && answers[i].Source == "" {
			errs[i] = ErrNotAgent
		}
	})
	all := &plan.Fleet{Namespace: namespace, Agents: []plan.Asked{}, Names: []plan.Name{}}
	for i, agent := range f.agents {
		all.Add(agent.name, answers[i], errs[i])
	}
	return all
}
