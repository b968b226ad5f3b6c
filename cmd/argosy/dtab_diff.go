package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"argosy/dtab"
	"argosy/namerd/client"
	"argosy/namerd/store"
)

type dtabDiffCommand struct{ *meta }

func (c *dtabDiffCommand) Synopsis() string { return "Compare tables" }

func (c *dtabDiffCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dtab diff [options] NAME FILE
       argosy dtab diff [options] NAME@VERSION [NAME@VERSION]

  Shows what would change if the table in FILE, - for standard input, took the
  place of NAME; or what has changed between two versions, the second of which
  is the one of now unless it is given. VERSION is as dtab history shows it;
  -1 is the version before the one of now, -2 the one before that.` + namerdOptions + `

Options:

  -dtab TEXT        The table itself, in place of FILE.` + namerdFlags + `

Exit codes: 0 no difference, 1 differences, 2 trouble, or wrong usage.

Example:

    argosy dtab diff default default.dtab
    argosy dtab diff default@-1`)
}

// side is one of two tables that are compared.
type side struct {
	label string
	table dtab.Dtab
}

func (c *dtabDiffCommand) Run(args []string) int {
	f := c.namerdFlags("dtab diff")
	text := f.String("dtab", "", "")
	rest, code, ok := c.parse(f.FlagSet, args, c.Help)
	if !ok {
		return code
	}
	given := isSet(f.FlagSet, "dtab")
	if len(rest) < 1 || len(rest) > 2 || given && len(rest) != 1 {
		return c.usage("dtab diff: give a name and a file, or a name with a version")
	}
	versioned := namesVersion(rest[0])
	second := ""
	if len(rest) == 2 {
		second = rest[1]
	}
	if !versioned && !given && second == "" {
		return c.usage("dtab diff: give a file to compare with, or a version: %s@-1", rest[0])
	}
	var from, to side
	if given || second != "" && !namesVersion(second) {
		in, err := c.readTable(*text, given, rest[1:])
		if err != nil {
			return c.badTable(f, err)
		}
		to = side{label: second, table: asStored(in.table)}
		if given {
			to.label = "-dtab"
		}
	} else if second == "" {
		second, _, _ = strings.Cut(rest[0], "@")
	}
	code = c.withNamerd(f, func(ctx context.Context, n *client.Client) (err error) {
		if from, err = storedSide(ctx, n, rest[0]); err != nil || to.label != "" {
			return err
		}
		to, err = storedSide(ctx, n, second)
		return err
	})
	if code != exitOK {
		return exitUsage // 1 would say that they differ
	}
	lines := diffTables(from.table, to.table)
	if f.json {
		c.json(map[string]any{"from": from.label, "to": to.label, "changes": changesOf(lines)})
	} else {
		printDiff(c.out, from, to, lines)
	}
	if differ(lines) {
		return exitFailed
	}
	return exitOK
}

// namesVersion reports whether an argument names a version: NAME@VERSION. There may be files with an @ in their names.
func namesVersion(arg string) bool {
	ns, _, ok := strings.Cut(arg, "@")
	if !ok || !store.ValidName(ns) {
		return false
	}
	_, err := os.Stat(arg)
	return err != nil
}

// asStored is a table as it comes back from a store: with weights of two decimals.
func asStored(d dtab.Dtab) dtab.Dtab {
	if stored, err := dtab.Parse(d.String()); err == nil {
		return stored
	}
	return d
}

// storedSide reads NAME or NAME@VERSION.
func storedSide(ctx context.Context, n *client.Client, arg string) (side, error) {
	ns, version, versioned := strings.Cut(arg, "@")
	if !versioned {
		e, err := n.Get(ctx, ns)
		return side{label: ns + "@" + client.EncodeVersion(e.Version), table: e.Dtab}, err
	}
	change, err := findChange(ctx, n, ns, version)
	return side{label: ns + "@" + client.EncodeVersion(change.Version), table: change.Dtab}, err
}

// findChange finds a version in the history: as history shows it, or counted from the one of now.
func findChange(ctx context.Context, n *client.Client, ns, version string) (store.Change, error) {
	return findChangeBefore(ctx, n, ns, version, true)
}

// findChangeBefore is findChange where the state of now may be none that the history knows.
func findChangeBefore(ctx context.Context, n *client.Client, ns, version string, known bool) (store.Change, error) {
	back, counted := 0, false
	if strings.HasPrefix(version, "-") {
		i, err := strconv.Atoi(version[1:])
		if err != nil || i < 1 {
			return store.Change{}, fmt.Errorf("%s@%s: no version: -1 is the one before the one of now", ns, version)
		}
		back, counted = i, true
		if !known {
			back--
		}
	}
	var wanted store.Version
	if !counted {
		var err error
		if wanted, err = client.DecodeVersion(version); err != nil {
			return store.Change{}, err
		}
	}
	changes, err := n.History(ctx, ns, 0)
	if err != nil {
		if e, now := n.Get(ctx, ns); now == nil && !counted && e.Version == wanted { // needs no history
			return store.Change{Version: e.Version, Exists: true, Dtab: e.Dtab}, nil
		}
		return store.Change{}, err
	}
	for i, change := range changes {
		if counted && i == back || !counted && change.Version == wanted {
			return change, nil
		}
	}
	return store.Change{}, fmt.Errorf("%s@%s: %w", ns, version, store.ErrForgotten)
}

// diffLine is an entry of one table or of both.
type diffLine struct {
	sign  byte // ' ', '-' or '+'
	entry dtab.Dentry
}

// maxDiff bounds the comparison: the product of the entries that are left when what is the same at both ends is not
// counted. Beyond it all of these are shown as changed.
const maxDiff = 4_000_000

// diffTables is the shortest way from one table to another.
func diffTables(a, b dtab.Dtab) []diffLine {
	head := 0
	for head < min(len(a), len(b)) && a[head].Equal(b[head]) {
		head++
	}
	tail := 0
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail].Equal(b[len(b)-1-tail]) {
		tail++
	}
	var lines []diffLine
	add := func(sign byte, entries dtab.Dtab) {
		for _, e := range entries {
			lines = append(lines, diffLine{sign, e})
		}
	}
	add(' ', a[:head])
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	if len(x)*len(y) > maxDiff {
		add('-', x)
		add('+', y)
	} else {
		lines = append(lines, diffMiddle(x, y)...)
	}
	add(' ', a[len(a)-tail:])
	return lines
}

// diffMiddle keeps a longest common subsequence.
func diffMiddle(a, b dtab.Dtab) []diffLine {
	common := make([][]int32, len(a)+1) // of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i].Equal(b[j]) {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var lines []diffLine
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i].Equal(b[j]):
			lines = append(lines, diffLine{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, diffLine{'-', a[i]})
			i++
		default:
			lines = append(lines, diffLine{'+', b[j]})
			j++
		}
	}
	return lines
}

func differ(lines []diffLine) bool {
	for _, l := range lines {
		if l.sign != ' ' {
			return true
		}
	}
	return false
}

// around is how many entries are shown on both sides of a change.
const around = 3

// printDiff prints the changes with the entries around them; nothing where there are none.
func printDiff(w io.Writer, from, to side, lines []diffLine) {
	if !differ(lines) {
		return
	}
	fmt.Fprintf(w, "--- %s\n+++ %s\n", from.label, to.label)
	shown := make([]bool, len(lines))
	width := 0
	for i, l := range lines {
		if l.sign == ' ' {
			continue
		}
		for k := max(0, i-around); k <= min(len(lines)-1, i+around); k++ {
			shown[k] = true
		}
	}
	for i, l := range lines {
		if shown[i] {
			width = max(width, utf8.RuneCountInString(l.entry.Prefix.String()))
		}
	}
	for i, l := range lines {
		switch {
		case shown[i]:
			fmt.Fprintf(w, "%c %-*s => %s ;\n", l.sign, width, l.entry.Prefix, dtab.TreeString(l.entry.Dst))
		case i == 0 || shown[i-1]:
			fmt.Fprintln(w, "  ...")
		}
	}
}

// tableChange is an entry that was added or removed, as -json shows it.
type tableChange struct {
	Op     string `json:"op"`    // add or remove
	Entry  int    `json:"entry"` // its number in the table that has it, from 1
	Prefix string `json:"prefix"`
	Dst    string `json:"dst"`
}

func changesOf(lines []diffLine) []tableChange {
	all := []tableChange{}
	a, b := 0, 0
	for _, l := range lines {
		one := tableChange{Prefix: l.entry.Prefix.String(), Dst: dtab.TreeString(l.entry.Dst)}
		if l.sign != '+' {
			a++
			one.Op, one.Entry = "remove", a
		}
		if l.sign != '-' {
			b++
		}
		if l.sign == '+' {
			one.Op, one.Entry = "add", b
		}
		if l.sign != ' ' {
			all = append(all, one)
		}
	}
	return all
}
