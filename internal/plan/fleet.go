package plan

import (
	"cmp"
	"slices"
)

// Asked is an agent that was asked, and how that went.
type Asked struct {
	URL     string `json:"url"`
	Agent   string `json:"agent,omitempty"`
	Source  string `json:"source,omitempty"`
	Counted bool   `json:"counted"`
	Why     string `json:"why,omitempty"`   // why it is not counted though it answers
	Error   string `json:"error,omitempty"` // why it does not answer
}

// Fleet is what all agents say about a proposal.
type Fleet struct {
	Namespace string  `json:"namespace"`
	Agents    []Asked `json:"agents"`
	Names     []Name  `json:"names"` // the worst verdicts first, then by name
}

// Add counts an agent's answer in, or that there is none.
func (f *Fleet) Add(url string, a Answer, err error) {
	asked := Asked{URL: url, Agent: a.Agent, Source: a.Source, Counted: err == nil && a.Applies, Why: a.Why}
	if err != nil {
		asked.Error = err.Error()
	}
	f.Agents = append(f.Agents, asked)
	if !asked.Counted {
		return
	}
	known := make(map[string]int, len(f.Names))
	for i, n := range f.Names {
		known[n.Name] = i
	}
	for _, n := range a.Names {
		n.Agents = 1
		if i, ok := known[n.Name]; ok {
			f.Names[i] = both(f.Names[i], n)
			continue
		}
		known[n.Name] = len(f.Names)
		f.Names = append(f.Names, n)
	}
	slices.SortStableFunc(f.Names, func(a, b Name) int {
		return cmp.Or(cmp.Compare(a.Verdict.place(), b.Verdict.place()), cmp.Compare(a.Name, b.Name))
	})
}

// both is a name as two agents have it: the numbers of both, and what the one says that has the worse to tell.
func both(a, b Name) Name {
	worse := a
	if b.Verdict.place() < a.Verdict.place() {
		worse = b
	}
	worse.Agents, worse.Connections, worse.Touched = a.Agents+b.Agents, a.Connections+b.Connections, a.Touched+b.Touched
	return worse
}

// place is how bad a verdict is; 0 is the worst.
func (v Verdict) place() int {
	if i := slices.Index(Verdicts(), v); i >= 0 {
		return i
	}
	return len(Verdicts())
}

// Counted is how many agents the names are from.
func (f *Fleet) Counted() int {
	n := 0
	for _, a := range f.Agents {
		if a.Counted {
			n++
		}
	}
	return n
}

// Silent are the agents that do not answer.
func (f *Fleet) Silent() []Asked {
	return slices.DeleteFunc(slices.Clone(f.Agents), func(a Asked) bool { return a.Error == "" })
}

// With returns the names that have a verdict.
func (f *Fleet) With(v Verdict) []Name {
	return slices.DeleteFunc(slices.Clone(f.Names), func(n Name) bool { return n.Verdict != v })
}

// Name returns what there is about a name.
func (f *Fleet) Name(name string) (Name, bool) {
	i := slices.IndexFunc(f.Names, func(n Name) bool { return n.Name == name })
	if i < 0 {
		return Name{}, false
	}
	return f.Names[i], true
}
