package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"argosy/e2e/stack/servers"
)

// Prometheus is a Prometheus server that scrapes every second.
type Prometheus struct {
	URL string

	stack   *Stack
	program string
	args    []string
	proc    *Proc
}

// prometheusYAML finds the agents in Consul: each of their services names the address of their metrics in its meta.
const prometheusYAML = `global:
  scrape_interval: 1s
  scrape_timeout: 900ms
  evaluation_interval: 1s
scrape_configs:
  - job_name: argosy
    consul_sd_configs:
      - server: %s
        refresh_interval: 1s
    relabel_configs:
      - source_labels: [__meta_consul_service_metadata_admin]
        regex: .+
        action: keep
      - source_labels: [__meta_consul_service_metadata_admin]
        target_label: __address__
      - source_labels: [__meta_consul_service]
        target_label: service
`

// PrometheusConfig is the configuration of a stack's Prometheus unless the options say otherwise.
func PrometheusConfig(s *Stack) string { return fmt.Sprintf(prometheusYAML, s.Consul.Addr) }

func startPrometheus(ctx context.Context, s *Stack) (*Prometheus, error) {
	program, err := s.server(ctx, servers.Prometheus)
	if err != nil {
		return nil, err
	}
	make := s.options.PrometheusYAML
	if make == nil {
		if s.Consul == nil {
			return nil, errors.New("prometheus: needs PrometheusYAML when there is no Consul")
		}
		if can, err := servers.CanDiscoverConsul(program); err != nil || !can {
			return nil, fmt.Errorf("prometheus: %s was built without Consul's service discovery (set ARGOSY_PROMETHEUS, or take it out of PATH)", program)
		}
		make = PrometheusConfig
	}
	if err := os.WriteFile(s.Path("prometheus.yml"), []byte(make(s)), 0o644); err != nil {
		return nil, err
	}
	addr := s.Addr()
	p := &Prometheus{URL: "http://" + addr, stack: s, program: program}
	p.args = []string{"--config.file=" + s.Path("prometheus.yml"), "--storage.tsdb.path=" + s.Path("prometheus"),
		"--web.listen-address=" + addr}
	return p, p.run()
}

func (p *Prometheus) run() (err error) {
	p.proc, err = p.stack.launch("prometheus", p.program, p.args, p.stack.bareEnv())
	return err
}

// Ready waits until it answers queries.
func (p *Prometheus) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := Eventually(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		if err := p.proc.alive(); err != nil {
			cancel()
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/-/ready", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prometheus: %w", err)
	}
	return nil
}

// Stop ends it; Restart brings it back with its data.
func (p *Prometheus) Stop() error { return p.proc.Stop(5 * time.Second) }

// Restart starts it again on the same port.
func (p *Prometheus) Restart(ctx context.Context) error {
	p.proc.Stop(5 * time.Second)
	if err := p.run(); err != nil {
		return err
	}
	return p.Ready(ctx)
}

// Query evaluates an expression to one number; no result at all is an error.
func (p *Prometheus) Query(ctx context.Context, expression string) (float64, error) {
	return QueryPrometheus(ctx, p.URL, expression)
}

// QueryPrometheus is Query for a Prometheus that the stack did not start itself, such as one that runs as a Nomad job.
func QueryPrometheus(ctx context.Context, base, expression string) (float64, error) {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]json.RawMessage }
		}
	}
	if err := getJSON(ctx, base+"/api/v1/query?query="+url.QueryEscape(expression), &answer); err != nil {
		return 0, err
	}
	if len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("%s: %d results", expression, len(answer.Data.Result))
	}
	var text string
	if err := json.Unmarshal(answer.Data.Result[0].Value[1], &text); err != nil {
		return 0, fmt.Errorf("%s: %w", expression, err)
	}
	return strconv.ParseFloat(text, 64)
}
