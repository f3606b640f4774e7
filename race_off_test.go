//go:build !race

package main

// raceFlag builds the program under test with the race detector when the tests have it.
var raceFlag []string
