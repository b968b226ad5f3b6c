// Package look reads what the parts of a demo say of themselves: web servers, agents and Redis servers.
package look

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"argosy/demo/resp"
	"argosy/demo/story"
	"argosy/demo/web"
)

// timeout is for one answer.
const timeout = 2 * time.Second

// Looker asks over connections that it keeps. Its methods may be called from any goroutine.
type Looker struct {
	client *http.Client

	mu    sync.Mutex
	redis map[string]*resp.Conn // by address
}

// New makes a looker; Close ends its connections.
func New() *Looker {
	return &Looker{
		client: &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 10 * time.Second}},
		redis:  map[string]*resp.Conn{},
	}
}

// Close ends the connections.
func (l *Looker) Close() {
	l.client.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.redis {
		c.Close()
	}
	clear(l.redis)
}

func (l *Looker) get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("%s: %s", url, res.Status)
	}
	return res, nil
}

// Webs asks the web servers at the given addresses and adds their answers to o.
func (l *Looker) Webs(ctx context.Context, addresses []string, o *story.Observation) error {
	if o.Backends == nil {
		o.Backends = map[string]story.Backend{}
	}
	for _, a := range addresses {
		s, err := l.web(ctx, "http://"+a+"/stats")
		if err != nil {
			return fmt.Errorf("ask web server: %w", err)
		}
		for name, b := range s.Backends {
			sum := o.Backends[name]
			sum.Connections += b.Open
			sum.Opened += b.Opened
			sum.Requests += b.Requests
			o.Backends[name] = sum
		}
		o.Web.Requests += s.Requests
		o.Web.Failed += s.Failed
		o.Web.Hits += s.Hits
		o.Web.Misses += s.Misses
		o.Web.Retried += s.Retried
		o.Web.Redialed += s.Redialed
	}
	return nil
}

func (l *Looker) web(ctx context.Context, url string) (s web.Stats, err error) {
	res, err := l.get(ctx, url)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	return s, json.NewDecoder(res.Body).Decode(&s)
}

// Agent fills in what an agent's metrics say of all its listeners. When they cannot be read, Problem says why.
func (l *Looker) Agent(ctx context.Context, address string, i *story.Instance) {
	families, err := l.metrics(ctx, "http://"+address+"/metrics")
	if err != nil {
		i.Problem = err.Error()
		return
	}
	i.Connections = int64(Sum(families, "argosy_connections_active", nil))
	i.Opened = int64(Sum(families, "argosy_connections_opened_total", nil))
	if at := Sum(families, "process_start_time_seconds", nil); at > 0 && i.Started.IsZero() {
		i.Started = time.UnixMilli(int64(at * 1000))
	}
}

func (l *Looker) metrics(ctx context.Context, url string) (map[string]*dto.MetricFamily, error) {
	res, err := l.get(ctx, url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	return families, nil
}

// Sum adds up the gauges and counters of a family whose labels contain match.
func Sum(families map[string]*dto.MetricFamily, name string, match map[string]string) float64 {
	sum := 0.0
	for _, m := range families[name].GetMetric() {
		matched := 0
		for _, p := range m.GetLabel() {
			if v, ok := match[p.GetName()]; ok && v == p.GetValue() {
				matched++
			}
		}
		if matched == len(match) {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return sum
}

// Redis adds what the Redis server at an address says of itself to a cluster.
func (l *Looker) Redis(ctx context.Context, address string, b *story.Backend) {
	b.Commands, b.Received = -1, -1
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.redis[address]
	if c == nil {
		d := net.Dialer{Timeout: timeout}
		raw, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return
		}
		c = resp.NewConn(raw)
		l.redis[address] = c
	}
	fields, err := c.Info(timeout)
	if err != nil {
		c.Close()
		delete(l.redis, address)
		return
	}
	number := func(field string) int64 {
		n, err := strconv.ParseInt(fields[field], 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	b.Commands, b.Received = number("total_commands_processed"), number("total_connections_received")
}
