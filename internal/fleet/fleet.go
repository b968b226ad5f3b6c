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
)

const (
	requestTimeout = 10 * time.Second // beyond what an agent may take by itself
	maxAnswer      = 64 << 20         // bytes
	mostAtOnce     = 32               // agents that are asked at a time
)

// Fleet is a number of agents. Its methods may be called from any goroutine.
type Fleet struct {
	agents []string // base URLs
	http   *http.Client
}

// New makes a fleet of the agents at these base URLs, such as http://127.0.0.1:9990; a mere host:port is one too.
func New(agents []string) (*Fleet, error) {
	f := &Fleet{http: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	seen := map[string]bool{}
	for _, a := range agents {
		base := a
		if !strings.Contains(base, "://") {
			base = "http://" + base
		}
		base = strings.TrimRight(base, "/")
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("address of an agent %q is no URL: give that of its admin endpoint, such as http://127.0.0.1:9990", a)
		}
		if !seen[base] {
			seen[base] = true
			f.agents = append(f.agents, base)
		}
	}
	return f, nil
}

// Close gives up connections that are idle.
func (f *Fleet) Close() { f.http.CloseIdleConnections() }

// Size is how many agents there are.
func (f *Fleet) Size() int { return len(f.agents) }

// ErrNotAgent says that what answers is no agent, or one that is too old for the question.
var ErrNotAgent = errors.New("is no agent, or an older one")

// ask sends one request to an agent and reads its answer into v.
func (f *Fleet) ask(ctx context.Context, method, agent, path string, query url.Values, body string, v any) error {
	r, err := http.NewRequestWithContext(ctx, method, agent+path+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		return err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/dtab")
	}
	resp, err := f.http.Do(r)
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
		case json.Unmarshal(text, &refused) == nil && refused.Error != "":
			return errors.New(refused.Error)
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
func (f *Fleet) each(ask func(i int, agent string)) {
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
		return nil, fmt.Errorf("agent at %s: %w", f.agents[0], err)
	}
	if x.Tree.Kind == "" {
		return nil, fmt.Errorf("agent at %s: %w", f.agents[0], ErrNotAgent)
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
	f.each(func(i int, agent string) {
		errs[i] = f.ask(ctx, http.MethodPost, agent, "/v1/plan", q, body, &answers[i])
		if errs[i] == nil && answers[i].Source == "" {
			errs[i] = ErrNotAgent
		}
	})
	all := &plan.Fleet{Namespace: namespace, Agents: []plan.Asked{}, Names: []plan.Name{}}
	for i, agent := range f.agents {
		all.Add(agent, answers[i], errs[i])
	}
	return all
}
