package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"argosy/e2e/stack/servers"
)

const consulJoinsHCL = `server         = %t
data_dir       = %q
retry_join     = ["127.0.0.1:%d"]
retry_interval = "200ms"
performance {
  raft_multiplier = 1
}
`

// JoinConsul starts another server that joins the stack's Consul, and returns when it has a vote: from then on there is
// no leader while one of the two is away. The stack is to have been started with ConsulKeeps, and with a short
// autopilot.server_stabilization_time, without which Consul takes 10 s to trust the new one.
func (s *Stack) JoinConsul(ctx context.Context, name string) (*Consul, error) {
	c, err := s.join(ctx, name, true)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = Eventually(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		if err := c.proc.alive(); err != nil {
			cancel()
			return err
		}
		var raft struct{ Servers []struct{ Voter bool } }
		if err := s.Consul.Get(ctx, "/v1/operator/raft/configuration", &raft); err != nil {
			return err
		}
		if len(raft.Servers) != 2 || !raft.Servers[0].Voter || !raft.Servers[1].Voter {
			return errors.New("not two servers with a vote")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// JoinConsulClient starts an agent that is no server and joins the stack's Consul, and returns when it has found it.
func (s *Stack) JoinConsulClient(ctx context.Context, name string) (*Consul, error) {
	c, err := s.join(ctx, name, false)
	if err != nil {
		return nil, err
	}
	return c, c.Ready(ctx)
}

// join starts another agent.
func (s *Stack) join(ctx context.Context, name string, server bool) (*Consul, error) {
	program, err := s.server(ctx, servers.Consul)
	if err != nil {
		return nil, err
	}
	c := newConsul(s, name, program)
	if err := c.configure(name, fmt.Sprintf(consulJoinsHCL, server, s.Path(name), s.Consul.serf)); err != nil {
		return nil, err
	}
	return c, c.run()
}
