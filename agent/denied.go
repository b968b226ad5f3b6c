package agent

import (
	"fmt"

	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// deniedByServer reports whether the connection's server has refused us by an alert. With TLS 1.2 that ends the handshake;
// with TLS 1.3 our side of it is over by then, and the alert comes in place of the server's first byte. The error of r then
// says what to do about it, and the refusal is counted among the failures of the cluster in both cases.
func (c *connection) deniedByServer(r *relay.Result) bool {
	alert, refused := outcome.Refusal(r.Err)
	if !refused || r.Outcome != outcome.Denied || c.lease == nil {
		return false
	}
	if c.traffic != nil { // else it was counted as a failed attempt
		c.traffic.endpoint.cluster.failures["denied"].Inc()
	}
	var we string
	if t := c.agent.current.Load().client(c.lease.Cluster, c.destination.name).config.TLS; t != nil {
		we = t.Connect
	}
	r.Err = denial(we, c.lease.Endpoint.Connect.Service, alert, r.Err)
	return true
}

// denial says what can be done about a server's refusal. we and they are Connect services, or empty.
func denial(we, they, alert string, err error) error {
	switch {
	case we == "" || they == "":
		return fmt.Errorf("denied by the server, which does not accept the certificate that it was shown, or wants one: %w", err)
	case alert == "bad certificate" || alert == "access denied":
		// Most proxies have only this for whom no intention allows, and for whose certificate they do not trust.
		return fmt.Errorf("denied by %s: allow it with `consul intention create -replace %s %s`, or in the service-intentions entry of %s: %w",
			they, we, they, they, err)
	}
	return fmt.Errorf("denied by %s, which does not accept the certificate of %s (is it of the same Consul cluster?): %w", they, we, err)
}
