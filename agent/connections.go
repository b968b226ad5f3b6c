package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"argosy/agent/outcome"
	"argosy/internal/explanation"
)

// ConnectionInfo is one live connection as /v1/connections shows it.
type ConnectionInfo struct {
	ID         uint64    `json:"id"`
	Listener   string    `json:"listener"`
	Client     string    `json:"client"`
	Peer       string    `json:"peer,omitempty"`
	ServerName string    `json:"server_name,omitempty"`
	Phase      string    `json:"phase"` // routing, connecting or open
	Opened     time.Time `json:"opened"`
	Age        float64   `json:"age_seconds"`
	Quiet      *float64  `json:"quiet_seconds,omitempty"` // how long nothing has moved; of open ones
	Name       string    `json:"name,omitempty"`

	// Dtab are the entries that led from there to the cluster, when that was decided.
	Dtab []explanation.Used `json:"dtab,omitempty"`

	Cluster  string `json:"cluster,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Draining bool   `json:"endpoint_draining,omitempty"` // the endpoint gets no new connections
	Attempts int    `json:"attempts"`
	In       int64  `json:"bytes_in"`
	Out      int64  `json:"bytes_out"`

	// Denied is why the client may not connect any more, of connections that are open all the same.
	Denied string `json:"denied,omitempty"`
}

func (c *connection) info() ConnectionInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := ConnectionInfo{
		ID: c.id, Listener: c.listener.name, Client: "unix", Phase: c.phase.String(), Opened: c.since(),
		Age: seconds(c.age()), Attempts: int(c.attempts),
		In: c.meter.In.Load(), Out: c.meter.Out.Load(),
	}
	if c.lease != nil {
		i.Cluster, i.Endpoint = c.lease.Key, c.lease.Endpoint.Addr
	}
	if c.client.IsValid() {
		i.Client = c.client.String()
	}
	if h := c.hello; h != nil {
		i.Name, i.ServerName, i.Peer = h.name.String(), h.serverName, h.peer
		i.Denied = h.guest.denial()
	} else if c.phase != routing {
		i.Name = c.listener.label
	}
	if c.phase == open {
		for _, r := range c.rewrites.All() {
			i.Dtab = append(i.Dtab, explanation.Used{Entry: r.Entry + 1, Text: r.Text})
		}
		i.Draining = c.lease.Gone()
		if c.link != nil {
			quiet := seconds(c.link.Quiet())
			i.Quiet = &quiet
		}
	}
	return i
}

// seconds is a duration for people and programs, to a millisecond.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// serveConnections answers GET /v1/connections with an array of ConnectionInfo, the oldest first. There may be very many:
// they are written one by one.
func (a *Agent) serveConnections(w http.ResponseWriter, r *http.Request) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	b := bufio.NewWriterSize(w, 64<<10)
	separator := "[\n  "
	n := 0
	for _, c := range a.census.all() {
		i, ok := f.look(c)
		if !ok {
			continue
		}
		text, err := json.MarshalIndent(i, "  ", "  ")
		if err == nil {
			b.WriteString(separator)
			_, err = b.Write(text)
		}
		if err != nil { // whoever has asked has left
			return
		}
		separator = ",\n  "
		if n++; n == f.limit {
			break
		}
	}
	if n == 0 {
		b.WriteString("[]\n")
	} else {
		b.WriteString("\n]\n")
	}
	b.Flush()
}

// findConnection returns the connection of a request's id. It answers the request itself if there is none.
func (a *Agent) findConnection(w http.ResponseWriter, r *http.Request) *connection {
	text := r.PathValue("id")
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("connection: %q is no id: give a number, as /v1/connections lists them", text))
		return nil
	}
	c := a.census.find(id)
	if c == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("connection: %d is none that is open", id))
	}
	return c
}

func (a *Agent) serveConnection(w http.ResponseWriter, r *http.Request) {
	if c := a.findConnection(w, r); c != nil {
		answer(w, http.StatusOK, c.info())
	}
}

// closedInfo is the answer to a request to close connections.
type closedInfo struct {
	Closed int `json:"closed"`
}

func (a *Agent) serveClose(w http.ResponseWriter, r *http.Request) {
	c := a.findConnection(w, r)
	if c == nil {
		return
	}
	a.logger.Info("connection closed by request", "id", c.id, "by", r.RemoteAddr)
	c.stop(outcome.Closed)
	answer(w, http.StatusOK, closedInfo{1})
}

// closeRate is how many connections are closed per second unless the request says otherwise: their clients will connect
// again, and should not do so all at once.
const closeRate = 100

var errCloseAll = errors.New("say which connections to close, by listener, name, cluster, endpoint, client, peer, phase, min_age or quiet")

// serveCloseMany answers DELETE /v1/connections?listener=&...&rate=. It closes one connection after the other, as long as
// whoever has asked waits for the answer.
func (a *Agent) serveCloseMany(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	perSecond := float64(closeRate)
	f, err := parseFilter(q, "rate")
	if err == nil && q.Has("rate") {
		perSecond, err = parseRate(q)
	}
	if err == nil && !f.narrow {
		err = errCloseAll
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	a.logger.Info("connections are closed by request", "which", f.text, "rate", perSecond, "by", r.RemoteAddr)
	pace := rate.NewLimiter(rate.Limit(perSecond), 1)
	closed := 0
	for _, c := range a.census.all() {
		if _, ok := f.look(c); !ok {
			continue
		}
		if pace.Wait(r.Context()) != nil {
			break
		}
		if _, ok := f.look(c); !ok || a.census.find(c.id) == nil { // it may have changed meanwhile
			continue
		}
		c.stop(outcome.Closed)
		if closed++; closed == f.limit {
			break
		}
	}
	answer(w, http.StatusOK, closedInfo{closed})
}

func parseRate(q url.Values) (float64, error) {
	v, err := strconv.ParseFloat(q.Get("rate"), 64)
	if err != nil || !(v >= 0.001 && v <= 1e6) {
		return 0, fmt.Errorf("rate: %q is no number of connections per second, from 0.001 to 1000000", q.Get("rate"))
	}
	return v, nil
}
