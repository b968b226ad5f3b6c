package agent

import (
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/namerd/remote"
)

// openRemote makes the interpreter that a namerd does the work of.
func openRemote(c *config.Interpreter, logger hclog.Logger, reg prometheus.Registerer) (*remote.Interpreter, error) {
	return remote.New(remote.Options{
		Address: c.Address, Namespace: c.Namespace, Local: c.Local, TokenFile: c.TokenFile,
		CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile,
		Mode: remote.Mode(c.Mode), PollInterval: c.PollInterval, MaxStreams: c.MaxStreams,
		Logger: logger, Registry: reg,
	})
}

// binder is what binds the names: the agent's own interpreter, or that of a namerd.
func (n *naming) binder() binder {
	if n.remote != nil {
		return n.remote
	}
	return n.interpreter
}

// InterpreterInfo is the namerd that binds the names, as /v1/routes shows it.
type InterpreterInfo struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace"`
	Mode      string `json:"mode"`
	Known     bool   `json:"known"`   // it has answered
	Streams   int    `json:"streams"` // open now
	Error     string `json:"error,omitempty"`
}

// interpreterInfo is nil where the agent binds names itself.
func (g *generation) interpreterInfo() *InterpreterInfo {
	c := g.config.Interpreter
	if c == nil {
		return nil
	}
	known, err := g.naming.remote.Known()
	i := &InterpreterInfo{
		Address: c.Address, Namespace: c.Namespace, Mode: c.Mode, Known: known, Streams: g.naming.remote.Streams(),
	}
	if err != nil {
		i.Error = err.Error()
	}
	return i
}
