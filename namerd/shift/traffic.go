package shift

import (
	"context"
	"fmt"
	"strings"

	"argosy/internal/fleet"
)

// leastFailed is how many failures it takes to stop a shift: one or two happen.
const leastFailed = 3

// Failures is a Check of what agents see: of the attempts to connect the endpoints of each of the name's clusters, and
// of the connections of the name, no more than a share may fail while a step is in force.
type Failures struct {
	Traffic *fleet.Traffic
	Most    float64 // share of failures, 0 to 1

	Seen fleet.Seen // at the last look
}

// Begin counts from now on.
func (f *Failures) Begin(ctx context.Context) error { return f.Traffic.Begin(ctx) }

// Look says which cluster fails.
func (f *Failures) Look(ctx context.Context) (bad, note string, err error) {
	s, err := f.Traffic.Look(ctx)
	if err != nil {
		return "", "", err
	}
	f.Seen = s
	opened := uint64(0)
	for _, c := range s.Clusters {
		opened += c.Opened
	}
	if worst, share := s.Worst(leastFailed); share > f.Most {
		return fmt.Sprintf("%d of %d attempts to connect %s have failed, more than %.4g%%", worst.Failed, worst.Attempts(),
			worst.Cluster, 100*f.Most), "", nil
	}
	if all := opened + s.Refused; s.Refused >= leastFailed && float64(s.Refused)/float64(all) > f.Most {
		return fmt.Sprintf("%d of %d connections got no endpoint, more than %.4g%%", s.Refused, all, 100*f.Most), "", nil
	}
	return "", describe(s, opened), nil
}

// describe tells how the new connections were shared: "1203 new connections: 90.1% /#/a, 9.9% /#/b; 2 failures".
func describe(s fleet.Seen, opened uint64) string {
	if s.Agents == 0 {
		return "no agent has the name in use"
	}
	var parts []string
	failed := s.Refused
	for _, c := range s.Clusters {
		failed += c.Failed
		if c.Opened > 0 {
			parts = append(parts, fmt.Sprintf("%.1f%% %s", 100*float64(c.Opened)/float64(opened), c.Cluster))
		}
	}
	text := fmt.Sprintf("%d new connections", opened)
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text + fmt.Sprintf("; %d failures", failed)
}
