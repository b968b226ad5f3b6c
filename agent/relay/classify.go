package relay

import (
	"crypto/tls"
	"errors"
	"net"

	"argosy/agent/outcome"
)

// classify turns a failed read into an outcome. unanswered means that it was the server's first.
func classify(err error, unanswered bool) outcome.Outcome {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" { // an alert, in the words of crypto/tls
		if unanswered {
			return outcome.Denied
		}
		return outcome.TLS
	}
	var header tls.RecordHeaderError
	if errors.As(err, &header) {
		return outcome.TLS
	}
	return outcome.Reset
}
