package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"argosy/dtab"
)

// element is one element of a pattern.
type element struct {
	any       bool           // "*"
	label     string         // where it is only that
	search    *regexp.Regexp // where it has variables
	variables []string       // in their order
}

// variable is one in a text. Names are those that Linkerd takes: letters, digits, dots, and the signs from ":" to "_".
var variable = regexp.MustCompile(`\{([A-Za-z0-9.:-_]+)\}`)

func parsePattern(text string) ([]element, error) {
	var pattern []element
	for _, part := range divide(strings.Trim(text, "/")) {
		e, err := parseElement(part)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", text, err)
		}
		pattern = append(pattern, e)
	}
	return pattern, nil
}

// divide returns the parts between slashes.
func divide(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "/")
}

func parseElement(part string) (element, error) {
	if part == "*" {
		return element{any: true}, nil
	}
	labels, variables, err := pieces(part)
	if err != nil {
		return element{}, err
	}
	if len(variables) == 0 {
		return element{label: labels[0]}, nil
	}
	for i, l := range labels {
		labels[i] = regexp.QuoteMeta(l)
	}
	search, err := regexp.Compile("(?s)" + strings.Join(labels, "(.*)"))
	if err != nil {
		return element{}, fmt.Errorf("element %q: %w", part, err)
	}
	return element{search: search, variables: variables}, nil
}

// pieces divides an element into the variables in it, and the texts before, between and behind these.
func pieces(part string) (labels, variables []string, err error) {
	if part == "" {
		return nil, nil, errors.New("an element is empty")
	}
	at := 0
	for _, found := range variable.FindAllStringSubmatchIndex(part, -1) {
		labels = append(labels, part[at:found[0]])
		variables = append(variables, part[found[2]:found[3]])
		at = found[1]
	}
	labels = append(labels, part[at:])
	for i, l := range labels {
		if l == "" {
			continue
		}
		p, err := dtab.ParsePath("/" + l)
		if err != nil || len(p) != 1 {
			return nil, nil, fmt.Errorf("element %q: %q is no label, and no variable such as {name}", part, l)
		}
		labels[i] = p[0]
	}
	return labels, variables, nil
}

// match finds the variables of a name that starts with the pattern.
func match(pattern []element, name dtab.Path) (variables map[string]string, ok bool) {
	if len(name) < len(pattern) {
		return nil, false
	}
	variables = map[string]string{}
	for i, e := range pattern {
		switch {
		case e.any:
		case e.search == nil:
			if e.label != name[i] {
				return nil, false
			}
		default:
			found := e.search.FindStringSubmatch(name[i])
			if found == nil {
				return nil, false
			}
			for j, v := range e.variables {
				variables[v] = found[j+1]
			}
		}
	}
	return variables, true
}

// template is a name with variables, element by element.
type template []templateElement

type templateElement struct{ labels, variables []string }

func parseTemplate(text string, pattern []element) (template, error) {
	inner, ok := strings.CutPrefix(text, "/")
	if !ok {
		return nil, fmt.Errorf("name %q: a name starts with a slash", text)
	}
	var t template
	for _, part := range divide(inner) {
		labels, variables, err := pieces(part)
		if err != nil {
			return nil, fmt.Errorf("name %q: %w", text, err)
		}
		for _, v := range variables {
			if !slices.ContainsFunc(pattern, func(e element) bool { return slices.Contains(e.variables, v) }) {
				return nil, fmt.Errorf("name %q: the pattern has no variable {%s}", text, v)
			}
		}
		t = append(t, templateElement{labels, variables})
	}
	return t, nil
}

// fill puts the variables into the name.
func (t template) fill(variables map[string]string) dtab.Path {
	path := make(dtab.Path, len(t))
	for i, e := range t {
		text := e.labels[0]
		for j, v := range e.variables {
			text += variables[v] + e.labels[j+1]
		}
		path[i] = text
	}
	return path
}
