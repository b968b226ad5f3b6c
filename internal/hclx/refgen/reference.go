package main

import (
	"fmt"
	"strings"
)

const intro = `<!-- Written by go generate ./agent/config from the comments of the configuration's structs; not to be edited. -->
# Configuration reference

Agent, namerd and scheduler are configured in HCL. ` + "`-config`" + ` takes a file, or a directory of ` + "`*.hcl`" + ` files that are read in the order of
their names; it can be given several times, and what comes later adds to what came before. Unknown keys, wrong types and values that cannot be right are refused as a whole, each with its
file, line and column; ` + "`argosy validate`" + ` tells the same without starting anything. Examples are in [` + "`hcl/`" + `](../hcl).

Values may call functions: ` + "`env(\"NAME\")`" + ` is an environment variable, which has to be set unless there is a default, ` + "`env(\"NAME\", \"default\")`" + `;
` + "`file(\"path\")`" + ` is the text of a file. ` + "`format`, `join`, `lower`, `split`, `tonumber` and `trim`" + ` are as in Nomad and Terraform. In strings they stand in ` + "`${ }`" + `. Files are found from the working directory.

| type | written as |
|---|---|
| address | ` + "`\"host:port\"`; the host may be empty for all addresses" + ` |
| boolean | ` + "`true` or `false`" + `; the same in quotes, as ` + "`env`" + ` gives it |
| dtab | text: entries ` + "`/prefix => /path`" + ` with ` + "`;`" + ` between them, see [Dtabs](dtab.md) |
| duration | ` + "`\"500ms\"`, `\"10s\"`, `\"1m30s\"`, `\"24h\"`" + ` |
| number | ` + "`10`" + `; the same in quotes, as ` + "`env`" + ` gives it |
| path | ` + "`\"/svc/redis\"`" + ` |
| secret | text; better read from a file or the environment; never printed |

`

// part is one program.
type part struct {
	title, text, root string
}

// reference makes the whole document.
func reference(root string) (string, error) {
	s, err := load(root, map[string]string{
		"agent": "agent/config", "namerd": "namerd/config", "scheduler": "scheduler/config", "hclx": "internal/hclx",
		"mounts": "namer/mounts",
	})
	if err != nil {
		return "", err
	}
	w := &writer{source: s}
	w.WriteString(intro)
	for _, p := range []part{
		{"Agent", "`argosy agent -config FILE`: a proxy.", "agent.rawConfig"},
		{"namerd", "`argosy namerd -config FILE`: the HTTP API of the tables.", "namerd.rawConfig"},
		{"Scheduler", "`argosy scheduler -config FILE`: as many instances as the load needs.", "scheduler.rawConfig"},
	} {
		fmt.Fprintf(w, "## %s\n\n%s\n\n", p.title, p.text)
		if err := w.block(p.root, nil, 3); err != nil {
			return "", err
		}
	}
	return strings.TrimRight(w.String(), "\n") + "\n", nil
}

type writer struct {
	strings.Builder
	source *source
}

// block writes the keys of a struct, then each of its blocks below a heading.
func (w *writer) block(name string, path []string, level int) error {
	t := w.source.structs[name]
	if t == nil {
		return fmt.Errorf("there is no struct %s", name)
	}
	fields, err := w.source.fields(t)
	if err != nil {
		return err
	}
	w.table(fields)
	for _, f := range fields {
		if f.use == "block" {
			if err := w.inner(f, path, level); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) table(fields []field) {
	head := "| key | type | default | |\n|---|---|---|---|\n"
	for _, f := range fields {
		if f.use != "optional" && f.use != "" {
			continue
		}
		w.WriteString(head)
		head = ""
		fallback := ""
		switch {
		case f.required:
			fallback = "required"
		case f.hasDef:
			fallback = "`" + f.fallback + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", f.name, f.typ, fallback, strings.ReplaceAll(f.doc, "|", `\|`))
	}
	if head == "" {
		w.WriteString("\n")
	}
}

// inner writes a block: where its kind decides about its keys, one section for each kind.
func (w *writer) inner(f field, path []string, level int) error {
	t := w.source.structs[f.target]
	if t == nil {
		return fmt.Errorf("there is no struct %s", f.target)
	}
	fields, err := w.source.fields(t)
	if err != nil {
		return err
	}
	head := f.name
	for _, l := range fields {
		if l.use == "label" {
			head += fmt.Sprintf(" %q", strings.ToUpper(l.name))
		}
	}
	here := append(path[:len(path):len(path)], head)
	often := "At most once."
	switch {
	case f.required:
		often = "Exactly once."
	case f.repeated:
		often = "Any number."
	}
	fmt.Fprintf(w, "%s `%s`\n\n%s\n\n", strings.Repeat("#", level), strings.Join(here, " > "),
		oneLine(strings.Join([]string{f.doc, t.doc, often}, " ")))
	for _, k := range t.kinds {
		kind := w.source.structs[t.pkg+"."+k.typ]
		if kind == nil {
			return fmt.Errorf("there is no struct %s.%s", t.pkg, k.typ)
		}
		fmt.Fprintf(w, "%s `%s %q`\n\n%s\n\n", strings.Repeat("#", level+1), strings.Join(append(path[:len(path):len(path)], f.name), " > "), k.label, kind.doc)
		if err := w.block(t.pkg+"."+k.typ, here, level+2); err != nil {
			return err
		}
	}
	return w.block(f.target, here, level+1)
}
