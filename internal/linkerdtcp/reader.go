package linkerdtcp

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"argosy/internal/hclx"
)

// Limits of a text: a real one has some kilobytes. An alias stands for all that its anchor has, so that a short text
// can be a very long configuration.
const (
	maxText  = 1 << 20
	maxNodes = 100_000
)

// reader takes values out of YAML nodes and collects what is wrong, each with its place.
type reader struct {
	file     string
	lines    []string
	problems []hclx.Problem
	findings []Finding
	visited  int // nodes, those behind an alias each time
}

// parse returns the one document of a text; nil where there is a problem.
func (r *reader) parse(text []byte) *yaml.Node {
	if len(text) > maxText {
		r.problem(0, 0, fmt.Sprintf("more than %d bytes are no configuration of linkerd-tcp", maxText), "")
		return nil
	}
	r.lines = strings.Split(string(text), "\n")
	documents := yaml.NewDecoder(strings.NewReader(string(text)))
	var document, second yaml.Node
	switch err := documents.Decode(&document); {
	case errors.Is(err, io.EOF):
		r.problem(0, 0, "there is nothing in it", "give the file that linkerd-tcp is started with")
		return nil
	case err != nil:
		r.syntax(err)
		return nil
	}
	if err := documents.Decode(&second); err == nil {
		r.problem(second.Line, second.Column, "a second document", "linkerd-tcp reads one document from a file")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
		return nil
	}
	return document.Content[0]
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax words an error of the YAML library, which knows lines only. The first character of the line stands in.
func (r *reader) syntax(err error) {
	line, column, message := 0, 0, err.Error()
	if m := yamlError.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	if line > 0 && line <= len(r.lines) {
		text := r.lines[line-1]
		column = len([]rune(text)) - len([]rune(strings.TrimLeft(text, " \t"))) + 1
	}
	r.problem(line, column, "no YAML: "+message, "")
}

func (r *reader) problem(line, column int, message, hint string) {
	p := hclx.Problem{File: r.file, Line: line, Column: column, EndColumn: column + 1, Message: message, Hint: hint}
	if line > 0 && line <= len(r.lines) {
		p.Source = strings.ToValidUTF8(strings.TrimRight(r.lines[line-1], "\r"), "\uFFFD")
	}
	if !slices.Contains(r.problems, p) {
		r.problems = append(r.problems, p)
	}
}

func (r *reader) wrong(n *yaml.Node, hint, format string, a ...any) {
	r.problem(n.Line, n.Column, fmt.Sprintf(format, a...), hint)
}

// lost reports what has no equivalent.
func (r *reader) lost(n *yaml.Node, key, hint, format string, a ...any) {
	r.find(n, key, true, hint, format, a...)
}

// note reports what has one that differs.
func (r *reader) note(n *yaml.Node, key, hint, format string, a ...any) {
	r.find(n, key, false, hint, format, a...)
}

func (r *reader) find(n *yaml.Node, key string, lost bool, hint, format string, a ...any) {
	f := Finding{Line: n.Line, Column: n.Column, Key: key, Lost: lost, Message: fmt.Sprintf(format, a...), Hint: hint}
	if !slices.Contains(r.findings, f) {
		r.findings = append(r.findings, f)
	}
}

// real is the node that an alias stands for.
func (r *reader) real(n *yaml.Node) *yaml.Node {
	r.visited++
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// tooMuch reports once that the aliases multiply beyond reason.
func (r *reader) tooMuch(n *yaml.Node) bool {
	if r.visited <= maxNodes {
		return false
	}
	if r.visited < 2*maxNodes {
		r.visited = 2 * maxNodes
		r.wrong(n, "", "with all its aliases the configuration has more than %d values", maxNodes)
	}
	return true
}

// object is a map with what its keys may be.
type object struct {
	*reader
	node *yaml.Node
	path string // of the keys that lead to it
	keys map[string]*yaml.Node
}

// object takes a map. Keys that linkerd-tcp does not know are reported: it refuses them.
func (r *reader) object(n *yaml.Node, path string, known ...string) object {
	o := object{reader: r, node: n, path: path, keys: map[string]*yaml.Node{}}
	at := r.real(n)
	if at.Kind != yaml.MappingNode {
		r.wrong(n, "", "%s must be a map", shown(path))
		return o
	}
	for i := 0; i+1 < len(at.Content); i += 2 {
		if r.tooMuch(n) {
			return o
		}
		key, value := at.Content[i], at.Content[i+1]
		switch name := key.Value; {
		case o.keys[name] != nil:
			r.wrong(key, fmt.Sprintf("the first is in line %d", o.keys[name].Line), "%s is there twice", o.at(name))
		case len(known) > 0 && !slices.Contains(known, name):
			r.lost(key, o.at(name), "keys here: "+strings.Join(known, ", "), "is no key of linkerd-tcp, which refuses it")
		case r.real(value).Tag != "!!null": // as if it were not there
			o.keys[name] = value
		}
	}
	return o
}

func shown(path string) string {
	if path == "" {
		return "the configuration"
	}
	return path
}

func (o object) at(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// need reports a key that is missing.
func (o object) need(key, hint string) *yaml.Node {
	n := o.keys[key]
	if n == nil && o.real(o.node).Kind == yaml.MappingNode {
		o.wrong(o.node, hint, "%s is missing", o.at(key))
	}
	return n
}

// text takes a string; "" where there is none.
func (o object) text(key string) string {
	n := o.keys[key]
	if n == nil {
		return ""
	}
	if v := o.real(n); v.Kind == yaml.ScalarNode {
		return v.Value
	}
	o.wrong(n, "", "%s must be a string", o.at(key))
	return ""
}

// number takes a whole number from low to high; -1 where there is none.
func (o object) number(key string, low, high int) int {
	n := o.keys[key]
	if n == nil {
		return -1
	}
	v := o.real(n)
	i, err := strconv.Atoi(strings.ReplaceAll(v.Value, "_", ""))
	switch {
	case v.Kind != yaml.ScalarNode || v.Tag != "!!int" || err != nil:
		o.wrong(n, "", "%s must be a whole number", o.at(key))
	case i < low || i > high:
		o.wrong(n, "", "%s must be from %d to %d", o.at(key), low, high)
	default:
		return i
	}
	return -1
}

// list takes the items of a list.
func (o object) list(key string) []*yaml.Node {
	n := o.keys[key]
	if n == nil {
		return nil
	}
	v := o.real(n)
	if v.Kind != yaml.SequenceNode {
		o.wrong(n, "", "%s must be a list", o.at(key))
		return nil
	}
	return v.Content
}

// texts takes a list of strings.
func (o object) texts(key string) []string {
	var all []string
	for _, item := range o.list(key) {
		if o.tooMuch(item) {
			return nil
		}
		v := o.real(item)
		if v.Kind != yaml.ScalarNode {
			o.wrong(item, "", "%s must have strings in it", o.at(key))
			continue
		}
		all = append(all, v.Value)
	}
	return all
}

// item is the path of the i-th item of a list.
func (o object) item(key string, i int) string { return fmt.Sprintf("%s[%d]", o.at(key), i) }
