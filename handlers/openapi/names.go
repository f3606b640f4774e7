package openapi

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func compareNames(a, b string) int { return cmp.Compare(a, b) }

// staticIDs lists the operation ids of the contract.
func staticIDs(paths *object) []string {
	var ids []string
	for _, path := range paths.members {
		item, _ := path.value.(*object)
		if item == nil {
			continue
		}
		for _, m := range item.members {
			if op, ok := m.value.(*object); ok && op.has("operationId") {
				ids = append(ids, op.str("operationId"))
			}
		}
	}
	return ids
}

// operationIDs gives each command an id that generators make a method's name of: its own name where that will do. Two ids differ
// in more than case and underscores, since generators change those. Commands whose name is an id come first, so that others do not
// take it from them.
func operationIDs(commands []Command, static []string) map[string]string {
	taken := map[string]bool{}
	for _, id := range static {
		taken[folded(id)] = true
	}
	names := make([]string, 0, len(commands))
	for _, c := range commands {
		names = append(names, c.Name)
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(bool2int(identifier(a) != a), bool2int(identifier(b) != b)), cmp.Compare(a, b))
	})
	ids := map[string]string{}
	for _, name := range names {
		id := identifier(name)
		for n, plain := 1, id; taken[folded(id)]; n++ {
			id = plain + "_command"
			if n > 1 {
				id += strconv.Itoa(n)
			}
		}
		taken[folded(id)] = true
		ids[name] = id
	}
	return ids
}

func bool2int(b bool) int {
	if b {
		return 1
	}
	return 0
}

// identifier is name with an underscore for whatever is not of an identifier in every language.
func identifier(name string) string {
	id := strings.Map(func(r rune) rune {
		if r == '_' || r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '_'
	}, name)
	if folded(id) == "" || unicode.IsDigit(rune(id[0])) {
		return "command" + id
	}
	return id
}

// folded is what is left of an id whatever a generator does with its case and its underscores.
func folded(id string) string { return strings.ToLower(strings.ReplaceAll(id, "_", "")) }

// pascal writes an id as the name of a type: add_numbers as AddNumbers.
func pascal(id string) string {
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(id, func(r rune) bool { return r == '_' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
