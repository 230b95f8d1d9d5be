// Package check holds the rules of the house as tests: who may import whom, how
// secrets are not compared, what a file and a package look like.
//
// It has tests only. They stand here and not beside the code that they judge,
// because they judge the whole tree, and because contrib is where the one test
// command is. Every rule is a function from sources to violations and is itself
// tried on planted ones, so that a rule that finds nothing anywhere fails.
//
// It depends on the standard library, git and the go command.
package check
