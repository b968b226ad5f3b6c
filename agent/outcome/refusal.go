package outcome

import (
	"errors"
	"net"
	"slices"
	"strings"
)

// refusals are the alerts with which a TLS peer says that it does not want us for who we are, in the words of RFC 8446,
// section 6.2, as crypto/tls has them. Go's own servers have only "bad certificate" for whom they do not let in.
var refusals = []string{
	"access denied", "bad certificate", "certificate required", "expired certificate", "revoked certificate",
	"unknown certificate", "unknown certificate authority", "unsupported certificate",
}

// Refusal reports whether err is a TLS alert with which the peer has refused us for who we are, and returns its name.
// crypto/tls exports neither the number of an alert nor its type, so that its text has to do.
func Refusal(err error) (alert string, ok bool) {
	alert, ok = Alert(err)
	return alert, ok && slices.Contains(refusals, alert)
}

// Alert returns the name of the TLS alert that the peer has sent, if err is one.
func Alert(err error) (name string, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil { // in the words of crypto/tls
		return "", false
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: "), true
}
