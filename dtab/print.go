package dtab

import (
	"math"
	"strconv"
	"strings"
)

// TreeString prints a tree in canonical form, so that ParseTree reads an equal tree back, but for weights: they have
// two decimals.
func TreeString(t Tree[Path]) string { return Show(t, Path.String) }

// Show prints a tree of any leaves in canonical form.
func Show[L any](t Tree[L], leaf func(L) string) string {
	var b strings.Builder
	show(&b, t, leaf)
	return b.String()
}

func show[L any](b *strings.Builder, t Tree[L], leaf func(L) string) {
	t = sole(t)
	switch t.Kind {
	case Neg:
		b.WriteByte('~')
	case Fail:
		b.WriteByte('!')
	case Empty:
		b.WriteByte('$')
	case Leaf:
		b.WriteString(leaf(t.Leaf))
	case Alt:
		for i, branch := range t.Branches {
			if i > 0 {
				b.WriteString(" | ")
			}
			child := sole(branch.Tree)
			showIn(b, child, child.Kind == Alt, leaf)
		}
	case Union:
		for i, branch := range t.Branches {
			if i > 0 {
				b.WriteString(" & ")
			}
			if branch.Weight != 1 {
				b.WriteString(weightString(branch.Weight))
				b.WriteByte('*')
			}
			child := sole(branch.Tree)
			showIn(b, child, child.Kind == Alt || child.Kind == Union, leaf)
		}
	}
}

func showIn[L any](b *strings.Builder, t Tree[L], parentheses bool, leaf func(L) string) {
	if parentheses {
		b.WriteByte('(')
	}
	show(b, t, leaf)
	if parentheses {
		b.WriteByte(')')
	}
}

// sole goes down to what an Alt or Union of one, or of none, prints as.
func sole[L any](t Tree[L]) Tree[L] {
	for t.Kind == Alt || t.Kind == Union {
		if len(t.Branches) == 0 {
			return Tree[L]{}
		}
		if len(t.Branches) > 1 {
			break
		}
		t = t.Branches[0].Tree
	}
	return t
}

// weightString prints a weight with two decimals as java.util.Formatter does: rounded half up, not by the binary value
// but by its shortest decimal form, so that 0.125 is 0.13 and 1.005 is 1.01.
func weightString(w float64) string {
	if math.IsInf(w, 0) || math.IsNaN(w) {
		return strconv.FormatFloat(w, 'f', -1, 64) // never comes from a parser
	}
	whole, frac, _ := strings.Cut(strconv.FormatFloat(w, 'f', -1, 64), ".")
	up := len(frac) > 2 && frac[2] >= '5'
	digits := []byte(whole + (frac + "00")[:2])
	if up {
		digits = increment(digits)
	}
	return string(digits[:len(digits)-2]) + "." + string(digits[len(digits)-2:])
}

// increment adds one to a decimal number.
func increment(digits []byte) []byte {
	for i := len(digits) - 1; i >= 0 && digits[i] != '-'; i-- {
		if digits[i] != '9' {
			digits[i]++
			return digits
		}
		digits[i] = '0'
	}
	return append([]byte{'1'}, digits...)
}

// WeightsKept reports whether printing the table keeps all its weights: whether each has at most two decimals. Namerd
// stores tables in printed form, so other weights change there.
func (d Dtab) WeightsKept() bool {
	for _, e := range d {
		if !weightsKept(e.Dst) {
			return false
		}
	}
	return true
}

func weightsKept(t Tree[Path]) bool {
	for _, b := range t.Branches {
		if t.Kind == Union {
			if w, err := strconv.ParseFloat(weightString(b.Weight), 64); err != nil || w != b.Weight {
				return false
			}
		}
		if !weightsKept(b.Tree) {
			return false
		}
	}
	return true
}
