package story

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// split tells how requests were divided among the clusters between two observations, and what the Redis servers
// themselves say to that.
func (t *telling) split(from, to Observation) []string {
	one := to.Backends[Redis1].Requests - from.Backends[Redis1].Requests
	two := to.Backends[Redis2].Requests - from.Backends[Redis2].Requests
	text := []string{fmt.Sprintf("%d requests were answered from redis1 (%s), %d from redis2 (%s)", one, share(one, one+two), two, share(two, one+two))}
	var info []string
	for _, name := range []string{Redis1, Redis2} {
		a, b := from.Backends[name], to.Backends[name]
		if a.Received >= 0 && b.Received >= 0 {
			info = append(info, fmt.Sprintf("%s +%d commands, +%d connections", name, b.Commands-a.Commands, b.Received-a.Received))
		}
	}
	if len(info) > 0 {
		text = append(text, "the Redis servers' own INFO, our questions included: "+strings.Join(info, "; "))
	}
	return text
}

func share(part, all int64) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(all))
}

// failures tells what clients saw between two observations.
func (t *telling) failures(from, to Observation) string {
	d := to.Load.Sub(from.Load)
	text := fmt.Sprintf("%d requests answered, %d failed%s; latency p50 %s, p99 %s", d.OK, d.Failed, reasons(Observation{Load: d}),
		milliseconds(d.Latency.Quantile(0.5)), milliseconds(d.Latency.Quantile(0.99)))
	retried, redialed := to.Web.Retried-from.Web.Retried, to.Web.Redialed-from.Web.Redialed
	if retried+redialed > 0 {
		text += fmt.Sprintf("; web servers sent %d commands again and dialed %d times more", retried, redialed)
	}
	return text
}

func (t *telling) noFailure(from, to Observation) error {
	if d := to.Load.Sub(from.Load); d.Failed > 0 {
		return fmt.Errorf("%d of %d requests failed%s", d.Failed, d.Sent, reasons(Observation{Load: d}))
	}
	return nil
}

// reasons lists why requests failed, the most frequent first.
func reasons(o Observation) string {
	type reason struct {
		text string
		n    int64
	}
	var all []reason
	for text, n := range o.Load.Reasons {
		all = append(all, reason{strings.TrimSpace(text), n})
	}
	slices.SortFunc(all, func(a, b reason) int {
		if a.n != b.n {
			return int(b.n - a.n)
		}
		return strings.Compare(a.text, b.text)
	})
	var out []string
	for i, r := range all {
		if i == 3 {
			out = append(out, "...")
			break
		}
		out = append(out, fmt.Sprintf("%dx %s", r.n, r.text))
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, "; ") + ")"
}

func names(all []Instance) string {
	var out []string
	for _, i := range all {
		if i.Pid != 0 {
			out = append(out, fmt.Sprintf("%s pid %d", i.ID, i.Pid))
		} else {
			out = append(out, i.ID)
		}
	}
	return strings.Join(out, ", ")
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
}
