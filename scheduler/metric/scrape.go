package metric

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"argosy/scheduler/law"
)

const (
	longestPage = 16 << 20
	// keepFor is how long the last values of a target that does not answer stay in sums. It keeps a hiccup from looking
	// like a loss of load; the sum counts as incomplete all the while.
	keepFor        = 10 * time.Second
	scrapesAtATime = 32
	// agentMetric is what every agent of ours exports. One that has it and not the metric that is asked for has not had
	// such a load yet: a cluster's gauge appears with its first connection.
	agentMetric = "argosy_up"
)

// ScrapeOptions say what to read.
type ScrapeOptions struct {
	Targets  func() ([]string, error) // asked before each round: host:port, or the URL of a metrics page
	Interval time.Duration            // between rounds; 1s unless set
	Timeout  time.Duration            // for one target; the interval unless set
}

// Scraper reads the metrics pages of the agents themselves, without a Prometheus between.
type Scraper struct {
	options ScrapeOptions
	client  *http.Client
	logger  hclog.Logger
	now     func() time.Time

	mu      sync.Mutex
	targets map[string]*page
	listErr error
	rounds  int
}

// page is what is known of a target.
type page struct {
	at       time.Time // of the last success
	families map[string]*dto.MetricFamily
	err      error // of the last try
}

// NewScraper makes a source that knows nothing until Run has been called.
func NewScraper(o ScrapeOptions, now func() time.Time, logger hclog.Logger) *Scraper {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = o.Interval
	}
	return &Scraper{
		options: o, now: now, logger: logger.Named("scrape"), targets: map[string]*page{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}},
	}
}

// Run reads all targets in every interval until ctx ends.
func (s *Scraper) Run(ctx context.Context) {
	defer s.client.CloseIdleConnections()
	tick := time.NewTicker(s.options.Interval)
	defer tick.Stop()
	for {
		s.round(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Scraper) round(ctx context.Context) {
	addresses, err := s.options.Targets()
	s.mu.Lock()
	s.rounds++
	if err != nil {
		if s.listErr == nil || s.listErr.Error() != err.Error() {
			s.logger.Warn("cannot list the targets, going on with those known", "error", err)
		}
		addresses = nil
		for a := range s.targets {
			addresses = append(addresses, a)
		}
	}
	s.listErr = err
	for a := range s.targets {
		if !slices.Contains(addresses, a) {
			delete(s.targets, a)
		}
	}
	for _, a := range addresses {
		if s.targets[a] == nil {
			s.targets[a] = &page{err: errors.New("not read yet")}
		}
	}
	s.mu.Unlock()

	var g errgroup.Group
	g.SetLimit(scrapesAtATime)
	for _, a := range slices.Compact(slices.Sorted(slices.Values(addresses))) {
		g.Go(func() error {
			families, err := s.read(ctx, a)
			s.mu.Lock()
			defer s.mu.Unlock()
			p := s.targets[a]
			if p == nil || ctx.Err() != nil {
				return nil
			}
			if (err == nil) != (p.err == nil) {
				s.logger.Debug("target has changed", "target", a, "error", err)
			}
			if p.err = err; err == nil {
				p.at, p.families = s.now(), families
			}
			return nil
		})
	}
	g.Wait()
}

func (s *Scraper) read(ctx context.Context, target string) (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	url := target
	if !strings.Contains(url, "://") {
		url = "http://" + target + "/metrics"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	body := &io.LimitedReader{R: resp.Body, N: longestPage}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	switch {
	case body.N <= 0:
		return nil, fmt.Errorf("the page is longer than %d bytes", longestPage)
	case err != nil:
		return nil, fmt.Errorf("not a metrics page: %w", err)
	}
	return families, nil
}

// Sample sums the metric over what the last round has read. An agent without it adds nothing, if another has it. The
// sample's time is that of the oldest page in the sum.
func (s *Scraper) Sample(_ context.Context, q Query) law.Sample {
	if q.Metric == "" {
		return failed("a query needs Prometheus, which is not configured: %s", q.Expr)
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum law.Sample
	var missing []string
	anywhere := false
	for a, p := range s.targets {
		if p.at.IsZero() || p.err != nil && now.Sub(p.at) > keepFor {
			missing = append(missing, fmt.Sprintf("%s: %v", a, p.err))
			continue
		}
		value, found := add(p.families[q.Metric], q.Match)
		if !found && p.families[agentMetric] == nil {
			missing = append(missing, fmt.Sprintf("%s has no gauge %s", a, q.selector()))
			continue
		}
		anywhere = anywhere || found
		if p.err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", a, p.err))
		}
		sum.Value += value
		if sum.At.IsZero() || p.at.Before(sum.At) {
			sum.At = p.at
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		sum.Partial = true
		sum.Detail = shorten(fmt.Sprintf("%d of %d targets are missing; %s", len(missing), len(s.targets), missing[0]))
	}
	if s.listErr != nil {
		sum.Partial, sum.Detail = true, shorten(s.listErr.Error())
	}
	if !sum.At.IsZero() && !anywhere { // a misspelt name must not look like an idle fleet
		return law.Sample{Problem: law.NoData, Detail: "no target has a gauge " + q.selector()}
	}
	if sum.At.IsZero() {
		detail := sum.Detail
		switch {
		case s.rounds == 0:
			detail = "the targets have not been read yet"
		case detail == "":
			detail = "there are no targets"
		}
		return law.Sample{Problem: law.NoData, Detail: detail}
	}
	return sum
}

// add sums the series of a family whose labels contain match. Counters and histograms are no loads and not found.
func add(f *dto.MetricFamily, match map[string]string) (sum float64, found bool) {
	for _, m := range f.GetMetric() {
		if !contains(m.GetLabel(), match) {
			continue
		}
		switch {
		case m.Gauge != nil:
			sum += m.Gauge.GetValue()
		case m.Untyped != nil:
			sum += m.Untyped.GetValue()
		default:
			continue
		}
		found = true
	}
	return sum, found
}

func contains(labels []*dto.LabelPair, match map[string]string) bool {
	n := 0
	for _, l := range labels {
		if v, asked := match[l.GetName()]; asked {
			if v != l.GetValue() {
				return false
			}
			n++
		}
	}
	return n == len(match)
}
