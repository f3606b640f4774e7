// Package argschema checks the arguments of calls against the JSON Schemas that workers give their commands, before a worker
// is touched. It never refuses what the schema allows, and Python checks again: so where a check would not be exact, or could
// take long, there is none.
//
// [Compile] makes a [Schema], [Schema.Check] says what is wrong with arguments. What a check may take is bounded before it
// begins: cost.go works out how often a value at each depth is looked at, value.go how deep and how large the arguments are.
package argschema
