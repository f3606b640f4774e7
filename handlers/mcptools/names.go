package mcptools

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
)

// The protocol allows names of up to 128 letters, digits and `_.-`. Those who hand tools to a model mostly allow 64.
const (
	maxName    = 64
	shortestID = 8 // hexadecimal digits of the hash behind a name that was changed
)

var fitting = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// toolNames returns the names of the tools of commands: the command's own if it is one for a tool, else what is left of it
// with a hash of it, so that it stays the same whatever other commands come and go.
func toolNames(commands []Command) []string {
	names := make([]string, len(commands))
	taken := map[string]bool{}
	for i, c := range commands {
		if fitting.MatchString(c.Name) {
			names[i], taken[c.Name] = c.Name, true
		}
	}
	for i, c := range commands {
		for digits := shortestID; names[i] == ""; digits += shortestID { // ends: the whole hash is the last
			if name := changedName(c.Name, digits); !taken[name] || digits == 2*sha256.Size {
				names[i], taken[name] = name, true
			}
		}
	}
	return names
}

// changedName makes a name for a tool of one that is none, with so many digits of its hash.
func changedName(name string, digits int) string {
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:])[:digits]
	head := make([]byte, 0, maxName)
	for _, r := range name {
		if len(head) >= maxName-1-digits {
			break
		}
		if !fitting.MatchString(string(r)) {
			r = '_'
		}
		head = append(head, byte(r))
	}
	if len(head) == 0 {
		return hash
	}
	return string(head) + "-" + hash
}
