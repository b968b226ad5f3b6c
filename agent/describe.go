package agent

import (
	"fmt"
	"strings"

	"argosy/agent/balance"
	"argosy/namer"
)

// describe prints clusters for the log: "0.90 * /#/a (3 endpoints), 0.10 * /#/b (unknown yet)".
func describe(clusters []namer.Cluster) string {
	if len(clusters) == 0 {
		return "none"
	}
	parts := make([]string, 0, len(clusters))
	for _, c := range clusters {
		state := fmt.Sprintf("%d endpoints", len(c.Addr.Endpoints))
		switch {
		case c.Addr.Status != namer.OK:
			state = c.Addr.Status.String()
		case len(c.Addr.Endpoints) == 1:
			state = "1 endpoint"
		}
		parts = append(parts, fmt.Sprintf("%.2f * %s (%s)", c.Share, balance.Key(c.ID), state))
	}
	return strings.Join(parts, ", ")
}
