// Package nomad scales the task groups of Nomad jobs, with the care that Nomad's scale endpoint needs: it is called only
// with a count, only for service and batch jobs, only at the job's current index, never during a deployment, never with
// the count that the group has already; and looked after afterwards.
//
// The token needs scale-job, read-job-scaling and read-job in the jobs' namespaces; list-scaling-policies and
// read-scaling-policy, too, to follow the policies in the jobs.
package nomad

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/nomad/api"
)

// answered returns the HTTP status and the body of an error that is an answer from Nomad.
func answered(err error) (code int, body string) {
	var unexpected api.UnexpectedResponseError
	if errors.As(err, &unexpected) && unexpected.HasStatusCode() {
		return unexpected.StatusCode(), strings.TrimSpace(unexpected.Body())
	}
	return 0, ""
}

// explain turns an error of the client into a short one that says what is to be done.
func explain(err error) error {
	switch code, body := answered(err); {
	case code == http.StatusForbidden:
		return errors.New("permission denied: the token needs read-job, read-job-scaling and scale-job in the job's namespace")
	case code == http.StatusNotFound:
		return errors.New("there is no such job")
	case code != 0:
		const longest = 300
		return fmt.Errorf("nomad answered %d: %s", code, body[:min(len(body), longest)])
	}
	return err
}
