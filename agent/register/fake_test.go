package register

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"argosy/internal/consulclient"
	"argosy/internal/settings"
)

// fakeAgent is a Consul agent's catalog, as far as a registrar sees it.
type fakeAgent struct {
	mu       sync.Mutex
	services map[string]*api.AgentServiceRegistration
	changed  chan struct{}
	writes   []string
	down     bool
	stopping bool            // what is held back is answered
	answered int             // of that
	slow     chan struct{}   // registrations wait for it
	beats    []string        // "id status", as taken
	deaf     map[string]bool // ids whose beats hang
	nomad    string          // what the list of services says: Nomad's
}

func newFakeAgent(t *testing.T) (*fakeAgent, *api.Client) {
	t.Helper()
	f := &fakeAgent{services: map[string]*api.AgentServiceRegistration{}, changed: make(chan struct{}), nomad: "{}"}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	client, err := consulclient.New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return f, client
}

func (f *fakeAgent) change(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	down, slow := f.down, f.slow
	f.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusInternalServerError)
		return
	}
	path := r.URL.Path
	switch {
	case path == "/v1/agent/service/register":
		var s api.AgentServiceRegistration
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			panic(err)
		}
		if slow != nil {
			<-slow
		}
		f.change(func() {
			f.services[s.ID] = &s
			f.writes = append(f.writes, "+"+s.ID)
		})
	case strings.HasPrefix(path, "/v1/agent/service/deregister/"):
		id := strings.TrimPrefix(path, "/v1/agent/service/deregister/")
		f.change(func() {
			f.writes = append(f.writes, "-"+id)
			if f.services[id] == nil {
				http.Error(w, "Unknown service ID", http.StatusNotFound)
			}
			delete(f.services, id)
		})
	case strings.HasPrefix(path, "/v1/agent/check/update/service:"):
		f.takeBeat(w, r, strings.TrimSuffix(strings.TrimPrefix(path, "/v1/agent/check/update/service:"), ":ttl"))
	case strings.HasPrefix(path, "/v1/agent/service/maintenance/"):
		f.change(func() { f.writes = append(f.writes, "!"+strings.TrimPrefix(path, "/v1/agent/service/maintenance/")) })
	case path == "/v1/agent/services":
		f.mu.Lock()
		defer f.mu.Unlock()
		w.Write([]byte(f.nomad))
	default:
		f.serveService(w, r, strings.TrimPrefix(path, "/v1/agent/service/"))
	}
}

func (f *fakeAgent) takeBeat(w http.ResponseWriter, r *http.Request, id string) {
	var b struct{ Status, Output string }
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		panic(err)
	}
	f.mu.Lock()
	deaf := f.deaf[id]
	f.mu.Unlock()
	if deaf {
		<-r.Context().Done()
		return
	}
	f.change(func() {
		if f.services[id] == nil || len(f.services[id].Checks) == 0 {
			http.Error(w, "Unknown check ID", http.StatusNotFound)
			return
		}
		f.beats = append(f.beats, id+" "+b.Status)
	})
}

// beaten counts the beats that were taken.
func (f *fakeAgent) beaten(beat string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, b := range f.beats {
		if b == beat {
			n++
		}
	}
	return n
}

func (f *fakeAgent) serveService(w http.ResponseWriter, r *http.Request, id string) {
	hash := r.URL.Query().Get("hash")
	for {
		f.mu.Lock()
		s, changed, stopping := f.services[id], f.changed, f.stopping
		f.mu.Unlock()
		if s == nil {
			http.Error(w, "unknown service ID", http.StatusNotFound)
			return
		}
		now := fmt.Sprintf("%s-%d-%v", s.Address, s.Port, s.Tags)
		if now != hash || stopping {
			if now == hash {
				f.mu.Lock()
				f.answered++
				f.mu.Unlock()
			}
			json.NewEncoder(w).Encode(api.AgentService{ID: s.ID, Service: s.Name, Port: s.Port, Address: s.Address, Tags: s.Tags,
				Meta: s.Meta, Connect: s.Connect, ContentHash: now})
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fakeAgent) has(id string) *api.AgentServiceRegistration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.services[id]
}

func (f *fakeAgent) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.writes, " ")
}
