package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"charmer/workerproc"
)

// The levels of complaints.
const (
	levelWarning = "warning" // callers are told something wrong or nothing, or cannot have it as it is
	levelNote    = "note"    // nothing is told, since nothing was said
)

// complaint is what is to be said against a command.
type complaint struct {
	Level     string `json:"level"`
	Command   string `json:"command"`
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

// complaints returns what callers of the commands will stumble over, command by command.
func complaints(commands []workerproc.Command) []complaint {
	found := []complaint{}
	methods := map[string]string{} // names of commands by that of the method
	for _, c := range commands {
		for _, detail := range nameProblems(c.Name, methods) {
			found = append(found, complaint{Level: levelWarning, Command: c.Name, Detail: detail})
		}
		found = append(found, typeProblems(c)...)
	}
	return found
}

// typeProblems returns what is to be said against the types of a command.
func typeProblems(c workerproc.Command) (found []complaint) {
	say := func(level, parameter, detail string) {
		found = append(found, complaint{Level: level, Command: c.Name, Parameter: parameter, Detail: detail})
	}
	resultKnown := c.ResultSchema != nil
	for _, one := range c.Undescribed {
		resultKnown = resultKnown || one.Parameter == ""
		switch {
		case one.Why != "":
			say(levelWarning, one.Parameter, fmt.Sprintf("the type %s cannot be described: %s", one.Hint, one.Why))
		case one.Parameter == "":
			say(levelWarning, "", fmt.Sprintf("the type %s of the result has no form in JSON", one.Hint))
		default:
			say(levelWarning, one.Parameter, fmt.Sprintf("the type %s has no form in JSON: it takes anything, and gets the JSON that it is", one.Hint))
		}
	}
	if c.ArgsSchema == nil {
		if len(c.Parameters) > 0 {
			say(levelWarning, "", "nothing is told of its types: their schemas do not fit into --max-frame, or the worker has none")
		}
		return found
	}
	for _, p := range c.Parameters {
		if p.Annotation == "" && parameterSchema(c, p) != nil { // else a batch, whose calls have none
			say(levelNote, p.Name, "no type hint: it takes anything")
		}
	}
	if !resultKnown {
		say(levelNote, "", "no type hint tells what it returns")
	}
	return found
}

// methodName is a name that can be that of a method in any language that callers are written in.
var methodName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// reserved are the words that Java or Python keep for themselves. Elsewhere a method can have such a name, or begins with a capital.
var reserved = strings.Fields(`False None True abstract and as assert async await boolean break byte case catch char class const continue
	def default del do double elif else enum except extends false final finally float for from global goto if implements import in
	instanceof int interface is lambda long native new nonlocal not null or package pass private protected public raise return short
	static strictfp super switch synchronized this throw throws transient true try void volatile while with yield`)

// nameProblems returns what is to be said against the name of a command. Its method is added to methods.
func nameProblems(name string, methods map[string]string) (problems []string) {
	if !methodName.MatchString(name) {
		problems = append(problems, "a client can have no method of this name: it has more in it than the letters a to z, digits and _")
	}
	for _, word := range reserved {
		if name == word {
			problems = append(problems, "a client in Java or Python can have no method of this name, which is a word of the language")
		}
	}
	method := strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, name))
	switch other, ok := methods[method]; {
	case !ok:
		methods[method] = name
	case other == name:
		problems = append(problems, "there are two commands of this name")
	default:
		problems = append(problems, fmt.Sprintf("a client that writes names its own way (%s) cannot tell it from %s", method, other))
	}
	return problems
}
