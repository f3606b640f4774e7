package openapi

import (
	"math/big"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// count returns a member that is a count, and whether it is there.
func (o *object) count(name string) (int, bool) {
	n, ok := o.number(name)
	if !ok || !n.IsInt() || !n.Num().IsInt64() {
		return 0, false
	}
	return int(n.Num().Int64()), true
}

// number returns a member that is a number of moderate size, and whether it is there.
func (o *object) number(name string) (*big.Rat, bool) {
	raw, _ := o.get(name).(jsontext.Value)
	if raw.Kind() != '0' {
		return nil, false
	}
	if f, err := strconv.ParseFloat(string(raw), 64); err != nil || (f != 0 && (f < 1e-300 && f > -1e-300)) {
		return nil, false
	}
	return new(big.Rat).SetString(string(raw))
}

// exampleNumber is the n-th number from 1 on (from 1.5 if it may be a fraction), else from the lower bound on, else from the upper one down.
func exampleNumber(s *object, whole bool, n int) jsontext.Value {
	step := big.NewRat(1, 1)
	multiple, stepped := s.number("multipleOf")
	if stepped = stepped && multiple.Sign() > 0; stepped {
		step = multiple
		if whole {
			step = new(big.Rat).SetInt(multiple.Num()) // the least whole number that is a multiple
		}
	}
	low, lowOpen, hasLow := s.bound("minimum", "exclusiveMinimum", 1)
	high, highOpen, hasHigh := s.bound("maximum", "exclusiveMaximum", -1)
	first := step
	if !whole && !stepped {
		first = big.NewRat(3, 2)
	}
	first = new(big.Rat).Add(first, new(big.Rat).Mul(step, big.NewRat(int64(n), 1)))
	if (!hasLow || first.Cmp(low) > 0 || (!lowOpen && first.Cmp(low) == 0)) && (!hasHigh || first.Cmp(high) < 0 || (!highOpen && first.Cmp(high) == 0)) {
		return numeral(first)
	}
	if hasLow && hasHigh && !whole && !stepped && new(big.Rat).Sub(high, low).Cmp(step) <= 0 {
		step = new(big.Rat).Quo(new(big.Rat).Sub(high, low), big.NewRat(int64(2*(n+1)), 1)) // there is little between them
		if step.Sign() <= 0 {
			return numeral(low)
		}
		if lowOpen {
			return numeral(new(big.Rat).Add(low, step))
		}
		return numeral(low)
	}
	from, open, up := low, lowOpen, true
	if !hasLow {
		from, open, up = high, highOpen, false
	}
	if stepped || whole {
		from, open = nextMultiple(from, step, open, up), false
	}
	if open {
		n++
	}
	if !up {
		n = -n
	}
	return numeral(new(big.Rat).Add(from, new(big.Rat).Mul(step, big.NewRat(int64(n), 1))))
}

// bound returns the tighter of two bounds, where sign tells which that is, and whether it is itself outside.
func (o *object) bound(closed, open string, sign int) (at *big.Rat, outside, found bool) {
	a, hasClosed := o.number(closed)
	b, hasOpen := o.number(open)
	if hasOpen && (!hasClosed || b.Cmp(a)*sign >= 0) {
		return b, true, true
	}
	return a, false, hasClosed
}

// nextMultiple returns the first multiple of step from a bound on, upwards or downwards.
func nextMultiple(from, step *big.Rat, open, up bool) *big.Rat {
	quotient := new(big.Rat).Quo(from, step)
	times := new(big.Int).Div(quotient.Num(), quotient.Denom()) // rounds down
	one := big.NewInt(1)
	if up && (!quotient.IsInt() || open) {
		times.Add(times, one)
	}
	if !up && quotient.IsInt() && open {
		times.Sub(times, one)
	}
	return new(big.Rat).Mul(new(big.Rat).SetInt(times), step)
}

func numeral(n *big.Rat) jsontext.Value {
	if n.IsInt() {
		return jsontext.Value(n.Num().String())
	}
	f, _ := n.Float64()
	return jsontext.Value(strconv.FormatFloat(f, 'f', -1, 64))
}

// formats are strings of each format.
var formats = map[string]string{
	"date-time": "2026-01-02T03:04:05Z", "date": "2026-01-02", "time": "03:04:05Z", "duration": "PT1H30M",
	"uuid": "123e4567-e89b-12d3-a456-426614174000", "email": "ada@example.org", "idn-email": "ada@example.org", "hostname": "example.org",
	"ipv4": "192.0.2.1", "ipv6": "2001:db8::1", "uri": "https://example.org/", "uri-reference": "/", "regex": "a", "json-pointer": "/a",
	"ipv4network": "192.0.2.0/24", "ipv6network": "2001:db8::/32", "binary": "text", "byte": "aGVsbG8=", "base64url": "aGVsbG8=",
}

// exampleText is the n-th string of a format, of a pattern, or of a length.
func exampleText(s *object, n int) string {
	if example, ok := formats[s.str("format")]; ok {
		return example
	}
	if s.str("contentEncoding") == "base64" {
		return "aGVsbG8="
	}
	least, _ := s.count("minLength")
	if pattern := s.str("pattern"); pattern != "" {
		if example, ok := matching(pattern, least); ok {
			return example
		}
	}
	example := "text"
	if n > 0 {
		example += strconv.Itoa(n)
	}
	example += strings.Repeat("t", min(max(0, least-len(example)), exampleItems))
	if most, bounded := s.count("maxLength"); bounded && most < len(example) {
		example = example[len(example)-max(0, most):]
	}
	return example
}

// matching returns a string of at least that length that a regular expression matches.
func matching(pattern string, least int) (string, bool) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", false
	}
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return "", false
	}
	for more := range exampleItems {
		s := speller{more: more}
		s.spell(parsed)
		if utf8.RuneCountInString(s.String()) >= least {
			return s.String(), compiled.MatchString(s.String())
		}
	}
	return "", false
}

// speller writes text that matches an expression.
type speller struct {
	strings.Builder
	more  int // repetitions beyond those that are needed
	steps int // so far: repetitions of nothing within each other would have no end
}

func (b *speller) spell(e *syntax.Regexp) {
	times := func(least, most int) {
		for range min(least, exampleItems) + min(b.more, max(0, most-least)) {
			if b.steps++; b.steps < 4*exampleItems {
				b.spell(e.Sub[0])
			}
		}
	}
	switch e.Op {
	case syntax.OpLiteral:
		b.WriteString(string(e.Rune))
	case syntax.OpCharClass:
		b.WriteRune(readableOf(e.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('a')
	case syntax.OpCapture:
		b.spell(e.Sub[0])
	case syntax.OpStar:
		times(0, exampleItems)
	case syntax.OpPlus:
		times(1, exampleItems)
	case syntax.OpQuest:
		times(0, 1)
	case syntax.OpRepeat:
		if most := e.Max; most >= 0 {
			times(e.Min, most)
		} else {
			times(e.Min, exampleItems)
		}
	case syntax.OpConcat:
		for _, sub := range e.Sub {
			b.spell(sub)
		}
	case syntax.OpAlternate:
		b.spell(e.Sub[0])
	}
}

// readableOf chooses a character of a class, given as ranges: a letter or a digit if there is one.
func readableOf(ranges []rune) rune {
	for _, want := range "aA0" {
		for i := 0; i+1 < len(ranges); i += 2 {
			if ranges[i] <= want && want <= ranges[i+1] {
				return want
			}
		}
	}
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] > ' ' {
			return ranges[i]
		}
	}
	if len(ranges) > 1 {
		return ranges[1]
	}
	return 'a'
}
