//go:build race

package main_test

// raceEnabled says that the program is built with the race detector too.
const raceEnabled = true
