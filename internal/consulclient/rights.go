package consulclient

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/consulacl"
)

// rightsPath is where Consul's own web interface asks what a token may do.
const rightsPath = "/v1/internal/acl/authorize"

// Missing asks Consul which of some rights the client's token lacks. Where Consul leaves out what may not be seen, or says
// no more than that something is denied, this tells what is wrong.
func Missing(ctx context.Context, c *api.Client, rights ...consulacl.Right) ([]consulacl.Right, error) {
	type question struct {
		Resource, Segment, Access string
		Allow                     bool `json:",omitempty"` // in answers only
	}
	questions := make([]question, len(rights))
	for i, r := range rights {
		questions[i] = question{Resource: r.Resource, Segment: r.Name, Access: r.Access}
	}
	var answers []question
	if _, err := c.Raw().Write(rightsPath, questions, &answers, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return nil, fmt.Errorf("ask Consul for the token's rights: %w", err)
	}
	if len(answers) != len(rights) {
		return nil, fmt.Errorf("ask Consul for the token's rights: %d answers to %d questions", len(answers), len(rights))
	}
	var missing []consulacl.Right
	for i, a := range answers {
		if !a.Allow {
			missing = append(missing, rights[i])
		}
	}
	return missing, nil
}

// InvisibleError is a list that is empty for want of rights: Consul does not refuse to answer, but leaves out what the
// token may not see.
type InvisibleError struct{ text string }

func (e *InvisibleError) Error() string { return e.text }

// RetryAfter makes rights that are missing less urgent than a Consul in trouble: somebody has to give them.
func (e *InvisibleError) RetryAfter() time.Duration { return 5 * time.Second }

// Invisible finds out whether an empty list of a service's instances is empty for want of rights, and of which; meta is
// that of the answer to a request that did not wait. nil: it is just empty, or ACLs are not what is in the way.
//
// Consul says so itself only to those who have a token, and only of instances that are there.
func Invisible(ctx context.Context, c *api.Client, service string, meta *api.QueryMeta) error {
	if !meta.ResultsFilteredByACLs && meta.DefaultACLPolicy != "deny" {
		return nil
	}
	wanted := []consulacl.Right{consulacl.ReadService(service), consulacl.AllNodes()}
	missing, err := Missing(ctx, c, wanted...)
	switch {
	case err == nil && len(missing) > 0:
		return &InvisibleError{consulacl.Lacks(noneVisible, missing...)}
	case meta.ResultsFilteredByACLs: // it may see some nodes, but not those
		return &InvisibleError{consulacl.Lacks(noneVisible, wanted...)}
	}
	return nil
}

const noneVisible = "no endpoints visible"
