package hclx

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// What no configuration needs. The parser recurses, so that a few hundred kilobytes of "((((" would end the process.
const (
	maxNesting   = 100  // brackets, blocks and templates inside each other
	maxOperators = 1000 // in one expression
)

// tooDeep reports whether, and where, a text has more inside each other than the parser can be given.
func (d *Decoder) tooDeep(s source) bool {
	tokens, _ := hclsyntax.LexConfig(s.text, s.name, hcl.InitialPos)
	var open []hclsyntax.TokenType
	operators := 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace, hclsyntax.TokenTemplateInterp,
			hclsyntax.TokenTemplateControl, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			open = append(open, t.Type)
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		case hclsyntax.TokenNewline:
			if len(open) == 0 || open[len(open)-1] == hclsyntax.TokenOBrace {
				operators = 0
			}
		case hclsyntax.TokenComma:
			operators = 0
		case hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenPlus, hclsyntax.TokenStar, hclsyntax.TokenSlash,
			hclsyntax.TokenPercent, hclsyntax.TokenQuestion, hclsyntax.TokenColon, hclsyntax.TokenAnd, hclsyntax.TokenOr,
			hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq,
			hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq:
			operators++
		}
		if len(open) > maxNesting || operators > maxOperators {
			at := Range{Filename: s.name, Start: t.Range.Start, End: t.Range.End}
			d.problems = append(d.problems, Problem{File: s.name, Line: at.Start.Line, Column: at.Start.Column, EndColumn: at.End.Column,
				Message: "too much inside each other"})
			return true
		}
	}
	return false
}
