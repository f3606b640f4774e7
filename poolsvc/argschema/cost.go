package argschema

import (
	"errors"
	"math"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxDepth is how deep arguments may be that are checked.
const maxDepth = 64

var (
	errLoop    = errors.New("it refers to itself without an end")
	errDynamic = errors.New("it has references that depend on where they are followed from")
)

// weigh works out how often a validator looks at one value in the arguments, at most, by the depth of that value: the
// alternatives of a union are tried one after the other, so for a union of objects that hold the same union that grows with
// the depth by the number of the alternatives. One unit is the look at a plain type.
func weigh(root *jsonschema.Schema) ([]float64, error) {
	w := weigher{all: map[*jsonschema.Schema]bool{}}
	if err := w.collect(root); err != nil {
		return nil, err
	}
	visits := make([]float64, 0, maxDepth+1)
	most := 0.0
	for depth := 0; depth <= maxDepth && most <= maxWork; depth++ {
		w.now = make(map[*jsonschema.Schema]float64, len(w.all))
		w.open = map[*jsonschema.Schema]bool{}
		for s := range w.all {
			if _, err := w.at(s, depth); err != nil {
				return nil, err
			}
		}
		most = max(most, w.now[root])
		visits = append(visits, most)
		w.above = w.now
	}
	shorten(w.all)
	return visits, nil
}

// weigher goes through a compiled schema depth by depth.
type weigher struct {
	all   map[*jsonschema.Schema]bool
	above map[*jsonschema.Schema]float64 // how often a value is looked at that is as deep as one level less below each
	now   map[*jsonschema.Schema]float64
	open  map[*jsonschema.Schema]bool // whose sum is being made
}

// collect finds all schemas that s leads to.
func (w *weigher) collect(s *jsonschema.Schema) error {
	todo := []*jsonschema.Schema{s}
	for len(todo) > 0 {
		s, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if s == nil || w.all[s] {
			continue
		}
		if s.DynamicRef != nil || s.RecursiveRef != nil {
			return errDynamic
		}
		w.all[s] = true
		todo = append(todo, inPlace(s)...)
		named, others := below(s)
		todo = append(append(todo, named...), others...)
	}
	return nil
}

// at returns how often a value is looked at that is depth levels below where s applies.
func (w *weigher) at(s *jsonschema.Schema, depth int) (float64, error) {
	if sum, ok := w.now[s]; ok {
		return sum, nil
	}
	if w.open[s] {
		return 0, errLoop
	}
	w.open[s] = true
	sum := 0.0
	if depth == 0 {
		sum = own(s)
	}
	for _, other := range inPlace(s) {
		n, err := w.at(other, depth)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	if depth > 0 {
		named, others := below(s)
		most := 0.0 // of the named ones only one applies to a value
		for _, other := range named {
			most = max(most, w.above[other])
		}
		sum += most
		for _, other := range others {
			sum += w.above[other]
		}
	}
	delete(w.open, s)
	w.now[s] = min(sum, math.MaxFloat32) // so that no sum is infinite
	return w.now[s], nil
}

// own is what the keywords of s itself take, for a value that they apply to.
func own(s *jsonschema.Schema) float64 {
	units := 1.0
	if s.Enum != nil {
		units += float64(len(s.Enum.Values))
	}
	units += float64(len(s.Required)+len(s.DependentRequired)) / 8
	if s.UniqueItems {
		units += 20
	}
	if p, ok := s.Pattern.(*pattern); ok {
		units += p.units()
	}
	for expression := range s.PatternProperties {
		if p, ok := expression.(*pattern); ok {
			units += p.units()
		}
	}
	return units
}

// inPlace lists the schemas that apply to the same value as s.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	var out []*jsonschema.Schema
	for _, one := range []*jsonschema.Schema{s.Ref, s.Not, s.If, s.Then, s.Else, s.ContentSchema} {
		if one != nil {
			out = append(out, one)
		}
	}
	out = append(append(append(out, s.AllOf...), s.AnyOf...), s.OneOf...)
	for _, one := range s.DependentSchemas {
		out = append(out, one)
	}
	for _, dependency := range s.Dependencies {
		if one, ok := dependency.(*jsonschema.Schema); ok {
			out = append(out, one)
		}
	}
	return out
}

// below lists the schemas that apply to the members, names and items of a value: those of which one applies to each, and the others.
func below(s *jsonschema.Schema) (named, others []*jsonschema.Schema) {
	for _, one := range s.Properties {
		named = append(named, one)
	}
	named = append(named, s.PrefixItems...)
	for _, one := range s.PatternProperties {
		others = append(others, one)
	}
	for _, one := range []*jsonschema.Schema{s.PropertyNames, s.UnevaluatedProperties, s.Items2020, s.Contains, s.UnevaluatedItems} {
		if one != nil {
			others = append(others, one)
		}
	}
	for _, keyword := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch keyword := keyword.(type) {
		case *jsonschema.Schema:
			others = append(others, keyword)
		case []*jsonschema.Schema:
			named = append(named, keyword...)
		}
	}
	return named, others
}
