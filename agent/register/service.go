package register

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// nomadIDs start the ids of the services that Nomad registers. Its client removes those that it does not know.
const nomadIDs = "_nomad-task-"

// Who registers a service.
const (
	Auto     = "auto"     // Nomad, where it has registered the service for our allocation; else we do
	Self     = "self"     // we do
	External = "external" // somebody else; we only look
)

// What says that a service can serve. Each stands for the check's kind in Consul.
const (
	TTL  = "ttl"  // we do, before each time the TTL ends
	HTTP = "http" // Consul asks CheckURL
	None = "none" // it is taken to
)

// Service is one service to be in the catalog. Zero durations stand for 30s, 5s, 2s and 10m; the empty Registration is
// Self, the empty Check None.
type Service struct {
	Listener string // what it is called in metrics
	ID, Name string
	Address  string // to advertise; the node's unless set
	Port     int
	Tags     []string
	Meta     map[string]string
	Native   bool // the port itself speaks Connect's mutual TLS, so that Connect clients may be sent there

	Registration string
	Check        string
	CheckURL     string        // for HTTP. GET it: 2xx passes, 429 warns, anything else is critical
	TTL          time.Duration // for TTL: critical when we have said nothing for so long
	CheckTCP     string        // address that Consul is to connect as well; "": it does not

	CheckInterval, CheckTimeout time.Duration // of what Consul asks or connects

	// DeregisterAfter is how long the check may be critical before Consul removes the service: at least a minute. Keep
	// it long: a paused machine or a long outage must not erase a fleet.
	DeregisterAfter time.Duration
}

// ttl is after what silence Consul calls the service critical.
func (s Service) ttl() time.Duration { return or(s.TTL, 30*time.Second) }

// checkID is the id of a check of the service. Each kind has its own: where Consul replaces a check by one of another kind
// with the same id, the first one goes on as well.
func (s Service) checkID(kind string) string { return "service:" + s.ID + ":" + kind }

// check refuses what cannot be registered.
func check(services []Service) error {
	seen := map[string]bool{}
	for _, s := range services {
		switch {
		case s.ID == "" || s.Name == "":
			return fmt.Errorf("register %q: a service needs an id and a name", s.Name+s.ID)
		case strings.HasPrefix(s.ID, nomadIDs):
			return fmt.Errorf("register %s: ids that start with %s are Nomad's, which removes those that it does not know", s.ID, nomadIDs)
		case strings.ContainsAny(s.ID, "/?#%"):
			return fmt.Errorf("register %s: an id must not contain / ? # or %%", s.ID)
		case seen[s.ID]:
			return fmt.Errorf("register %s: the id is there twice", s.ID)
		case s.Port < 0 || s.Port > 65535:
			return fmt.Errorf("register %s: %d is no port", s.ID, s.Port)
		case s.Native && s.CheckTCP != "":
			return fmt.Errorf("register %s: a TCP check of a port that speaks Connect would be a failed handshake each time", s.ID)
		}
		seen[s.ID] = true
	}
	return nil
}

// registration is a service in Consul's words.
func registration(s Service, passing bool) *api.AgentServiceRegistration {
	reg := &api.AgentServiceRegistration{
		ID: s.ID, Name: s.Name, Address: s.Address, Port: s.Port, Tags: s.Tags, Meta: s.Meta,
	}
	if s.Native {
		reg.Connect = &api.AgentServiceConnect{Native: true}
	}
	status := api.HealthCritical
	if passing {
		status = api.HealthPassing
	}
	own := &api.AgentServiceCheck{
		CheckID: s.checkID(s.Check), Name: "can serve", Status: status,
		DeregisterCriticalServiceAfter: max(or(s.DeregisterAfter, 10*time.Minute), time.Minute).String(),
	}
	switch s.Check {
	case TTL:
		own.TTL = s.ttl().String()
		reg.Checks = append(reg.Checks, own)
	case HTTP:
		own.HTTP = s.CheckURL
		own.TLSSkipVerify = strings.HasPrefix(s.CheckURL, "https:") // nothing secret is asked, and our CA need not be Consul's
		own.Interval, own.Timeout = s.times()
		reg.Checks = append(reg.Checks, own)
	}
	if s.CheckTCP != "" {
		tcp := &api.AgentServiceCheck{CheckID: s.checkID("tcp"), Name: "accepts connections", TCP: s.CheckTCP, Status: status}
		tcp.Interval, tcp.Timeout = s.times()
		reg.Checks = append(reg.Checks, tcp)
	}
	return reg
}

// times are how often Consul asks, and how long it waits for an answer.
func (s Service) times() (interval, timeout string) {
	return or(s.CheckInterval, 5*time.Second).String(), or(s.CheckTimeout, 2*time.Second).String()
}

// same reports whether Consul has the service as we want it.
func same(have *api.AgentService, want Service) bool {
	if have == nil || have.Service != want.Name || have.Port != want.Port || have.Address != want.Address {
		return false
	}
	native := have.Connect != nil && have.Connect.Native
	return native == want.Native && slices.Equal(have.Tags, want.Tags) && maps.Equal(have.Meta, want.Meta)
}

func or(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
