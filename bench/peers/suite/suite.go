// Package suite tests how a proxy of Consul's mesh treats its peers. It is the clients of the proxy, good ones and bad ones,
// the service behind it, and the servers that it dials. A real Consul gives the proxy its identity; the suite has the key
// of that Consul's authority, so that it can be whoever it likes.
//
//	w, err := suite.Start(ctx, proxy, suite.Config{})
//	...
//	defer w.Close()
//	for _, c := range suite.Cases() {
//		r := w.Run(ctx, c)
//		fmt.Println(r.Case, r.Holds, r.Says())
//	}
//
// Cases run one after another, in the order of Cases: the last ones take Consul away.
package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"argosy/e2e/stack"
)

// Proxy is how the program under test is started. The functions return once it runs, which need not be when it serves.
type Proxy struct {
	Name string
	// Accept starts one that accepts connections as a Connect service and passes them on.
	Accept func(context.Context, *stack.Stack, Inbound) (*stack.Proc, error)
	// Move tells a running one, without restarting it, that it is to listen elsewhere.
	Move func(context.Context, *stack.Stack, *stack.Proc, Inbound) error
	// Dial starts one that accepts plain TCP and dials Connect services.
	Dial func(context.Context, *stack.Stack, Outbound) (*stack.Proc, error)
}

// Inbound is a proxy that accepts connections for a service.
type Inbound struct {
	Name    string // of this process, unique in its stack
	Service string // whose identity it has
	Listen  string // host:port
	App     string // where the service is that it passes connections on to: host:port, or the path of a Unix socket
}

// Outbound is a proxy that dials services.
type Outbound struct {
	Name     string
	Service  string            // whose identity it has
	Services map[string]string // the services that it dials, and where it listens for each
}

// Config says with how much is tested.
type Config struct {
	// Sockets is how many sockets are opened that never finish their handshake; 500 unless set.
	Sockets int
	// Limit is how long a case may take beside what it waits itself; 60 s unless set.
	Limit time.Duration
}

// Kind is what a case is about.
type Kind int

// Kinds of cases.
const (
	Peers   Kind = iota // who is let in, and who is believed
	Service             // what connections get that are let in
)

// Case is one property of a proxy.
type Case struct {
	Name  string // a word, for tables and for choosing
	Title string // what must hold, in a sentence
	Kind  Kind

	waits time.Duration // how long it waits itself
	test  func(*bed) error
}

// Result is what came of a case.
type Result struct {
	Case   string        `json:"case"`
	Holds  bool          `json:"holds"`
	Why    string        `json:"why,omitempty"`    // it does not hold
	Client string        `json:"client,omitempty"` // what the last client saw that was to be refused
	Behind string        `json:"behind,omitempty"` // what the service behind the proxy saw of it
	Notes  []string      `json:"notes,omitempty"`  // figures, which are others each time
	Took   time.Duration `json:"ns"`
}

// Says tells what was seen, without anything that is another each time.
func (r Result) Says() string {
	if !r.Holds {
		return r.Why
	}
	var parts []string
	if r.Client != "" {
		parts = append(parts, "the client saw "+r.Client)
	}
	if r.Behind != "" {
		parts = append(parts, "the service behind saw "+r.Behind)
	}
	return strings.Join(parts, ", ")
}

// finding is the error of a case whose property does not hold. Every other error says that the case could not be tested.
type finding string

func (f finding) Error() string { return string(f) }

// Cases returns all cases, in the order in which they should run.
func Cases() []Case {
	var all []Case
	for _, group := range [][]Case{certificates(), intentions(), handshakes(), servers(), service(), outage()} {
		all = append(all, group...)
	}
	return all
}

// Run runs a case. An error says that it could not be tested.
func (w *World) Run(ctx context.Context, c Case) (Result, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.waits+cmp.Or(w.config.Limit, time.Minute))
	defer cancel()
	b := &bed{World: w, ctx: ctx}
	defer b.end()
	err := c.test(b)
	r := Result{Case: c.Name, Holds: err == nil, Client: b.saw, Behind: b.behind, Notes: b.notes, Took: time.Since(began)}
	var f finding
	switch {
	case errors.As(err, &f):
		r.Why, err = string(f), nil
	case err != nil:
		err = fmt.Errorf("%s: %s: %w\n%s", w.proxy.Name, c.Name, err, w.stack.Logs(20))
	}
	return r, err
}

// bed is what a case runs on.
type bed struct {
	*World
	ctx         context.Context
	saw, behind string // Client and Behind of the Result
	notes       []string

	undo []func()
}

func (b *bed) note(format string, a ...any) { b.notes = append(b.notes, fmt.Sprintf(format, a...)) }

// later does something at the end of the case; what was asked for last is done first.
func (b *bed) later(do func()) { b.undo = append(b.undo, do) }

func (b *bed) end() {
	for i := len(b.undo) - 1; i >= 0; i-- {
		b.undo[i]()
	}
}

// wait waits for a while, as a case does that looks at silence.
func (b *bed) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// within waits for something to come true.
func (b *bed) within(limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	return stack.Eventually(ctx, 50*time.Millisecond, ask)
}
