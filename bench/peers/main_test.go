package main

import (
	"os"
	"strings"
	"testing"

	"argosy/bench/page"
	"argosy/bench/peers/suite"
)

const docs = "../../docs/security.md"

// documented is the table in the documentation.
func documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	part, err := page.Part(string(text), command)
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// The page has the cases that there are, in words of now, and each holds for argosy.
func TestDocumentation(t *testing.T) {
	rows := map[string][]string{}
	for line := range strings.Lines(documented(t)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 && strings.Contains(cells[1], "`") {
			rows[strings.Trim(cells[1], " `")] = cells[2:5]
		}
	}
	for _, c := range suite.Cases() {
		row := rows[c.Name]
		delete(rows, c.Name)
		if row == nil || strings.TrimSpace(row[0]) != c.Title {
			t.Errorf("docs/security.md does not have the case %s as it is: run make security", c.Name)
		} else if strings.Contains(row[1], "**") {
			t.Errorf("%s does not hold:%s", c.Name, row[1])
		}
	}
	for name := range rows {
		t.Errorf("docs/security.md has a case %s, which there is not: run make security", name)
	}
}

func TestTable(t *testing.T) {
	cases := []suite.Case{{Name: "a", Title: "it is so"}, {Name: "b", Title: "it does", Kind: suite.Service}, {Name: "c", Title: "and so"}}
	columns := []column{
		{Proxy: "argosy", Results: []suite.Result{{Holds: true, Client: "an alert", Behind: "nothing", Notes: []string{"7 ms"}}, {Holds: true}, {Holds: true}}},
		{Proxy: "consul", Results: []suite.Result{{Why: "it is not", Client: "an answer"}, {Why: "it does not"}, {Holds: true, Client: "an alert", Behind: "nothing"}}},
	}
	want := `
### Who is let in, and who is believed

| case | what must hold | argosy | ` + "`consul connect proxy`" + ` |
|---|---|---|---|
| ` + "`a`" + ` | it is so | safe (1) | **unsafe** (2) |
| ` + "`c`" + ` | and so | safe | safe (1) |

1. The client saw an alert, the service behind saw nothing.
2. It is not.

### What connections get

| case | what must hold | argosy | ` + "`consul connect proxy`" + ` |
|---|---|---|---|
| ` + "`b`" + ` | it does | yes | **no** (1) |

1. It does not.
`
	if got := table(cases, columns); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := columns[1].broken(); len(got) != 2 {
		t.Errorf("broken: %v", got)
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]int{
		"-list": 0, "-only nothing": 2, "-only expired -doc page.md": 2, "-sockets 0": 2, "more": 2, "-h": 0, "-wrong": 2,
	} {
		var out, errors strings.Builder
		if code := run(t.Context(), strings.Fields(args), &out, &errors); code != want {
			t.Errorf("%s: code %d, want %d: %s", args, code, want, errors.String())
		}
		if args == "-list" && strings.Count(out.String(), "\n") != len(suite.Cases()) {
			t.Errorf("the list is\n%s", out.String())
		}
	}
}
