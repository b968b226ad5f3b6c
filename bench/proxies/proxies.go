//go:build linux

package proxies

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// scenario is one kind of work. A fresh one has the proxy started anew for each measurement.
type scenario struct {
	name, title string
	topology    topology
	fresh       bool
	backend     backend
	direct      bool // no proxy is measured, too
	measure     func(context.Context, *lab, *target) (sample, error)
}

// sample is what one measurement came to. A figure that could not be taken is left out.
type sample []value

type value struct {
	name, unit string
	value      float64
}

// Scenarios are the names and titles of what Run can do.
func Scenarios() (list [][2]string) {
	for _, s := range scenarios() {
		list = append(list, [2]string{s.name, s.title})
	}
	return list
}

// Run measures the scenarios that are named. What was measured is returned also when something could not be; see the notes.
func Run(ctx context.Context, s Settings, names []string) (*Report, error) {
	for _, name := range s.Peers {
		if !slices.ContainsFunc(peers(s), func(p peer) bool { return p.name == name }) {
			return &Report{}, fmt.Errorf("there is no proxy %q", name)
		}
	}
	raiseFiles()
	r := &Report{When: time.Now().UTC(), Machine: s.Machine, Rounds: s.Rounds, Slice: s.Slice.String(), Versions: make(map[string]string)}
	chosen := s.present(ctx, r)
	var errs []error
	for _, c := range scenarios() {
		if !slices.Contains(names, c.name) {
			continue
		}
		fmt.Fprintf(s.Progress, "measuring %s ...\n", c.name)
		result, err := s.run(ctx, c, chosen)
		if result != nil {
			r.Results = append(r.Results, result)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return r, errors.Join(errs...)
}

// present chooses the peers that are here and wanted.
func (s Settings) present(ctx context.Context, r *Report) (chosen []peer) {
	for _, p := range peers(s) {
		if len(s.Peers) > 0 && !slices.Contains(s.Peers, p.name) {
			continue
		}
		if p.available != nil {
			if err := p.available(); err != nil {
				r.Notes = append(r.Notes, fmt.Sprintf("%s is left out: %v", p.name, err))
				continue
			}
		}
		if p.version != nil {
			r.Versions[p.name] = p.version(ctx)
		}
		chosen = append(chosen, p)
	}
	return chosen
}

func (s Settings) run(ctx context.Context, c scenario, all []peer) (result *Result, err error) {
	var chosen []peer
	for _, p := range all {
		if (p.start != nil || c.direct) && (len(p.only) == 0 || slices.Contains(p.only, c.topology)) {
			chosen = append(chosen, p)
		}
	}
	consul := slices.ContainsFunc(chosen, func(p peer) bool { return p.name == "consul" })
	l, err := newLab(ctx, s, consul)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	server, err := c.backend.start(ctx, l)
	if err != nil {
		return nil, err
	}
	defer server.close()

	result = &Result{Name: c.name, Title: c.title}
	targets := make(map[string]*target)
	defer func() {
		for _, g := range targets {
			g.stop()
		}
	}()
	lost := func(p peer, err error) {
		say(s.Progress, "%s: %v", p.name, err)
		result.Notes = append(result.Notes, fmt.Sprintf("%s: %v", p.name, err))
		chosen = slices.DeleteFunc(chosen, func(q peer) bool { return q.name == p.name })
	}
	for round := range s.Rounds {
		// Nobody is always the first.
		order := slices.Concat(chosen[round%max(len(chosen), 1):], chosen[:round%max(len(chosen), 1)])
		for _, p := range order {
			if ctx.Err() != nil {
				return result, ctx.Err()
			}
			g := targets[p.name]
			if g == nil {
				if g, err = l.start(ctx, p, c.topology, server.addr(), c.backend == sources); err == nil && c.backend == echoes {
					err = g.passes(ctx)
				}
				if g != nil {
					targets[p.name] = g
				}
				if err != nil {
					lost(p, err)
					continue
				}
			}
			values, err := c.measure(ctx, l, g)
			if c.fresh {
				g.stop()
				delete(targets, p.name)
			}
			if err != nil {
				lost(p, err)
				continue
			}
			for _, v := range values {
				result.put(p.name, v.name, v.unit, v.value)
			}
			say(s.Progress, "%-18s %s", p.name, values)
		}
	}
	return result, nil
}

func (s sample) String() string {
	text := ""
	for i, v := range s {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %s %s", v.name, Show(v.value), v.unit)
	}
	return text
}
