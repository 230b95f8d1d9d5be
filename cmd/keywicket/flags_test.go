package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command says what arguments it takes, and refuses more of them without
// repeating any: one may be a secret that was meant for standard input (C1).
func TestArgumentsTooMany(t *testing.T) {
	commands := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.HasSubCommands() || cmd.Name() == "help" {
			return
		}
		commands++
		for _, n := range []int{1, 3, 9} {
			_ = cmd.Args(cmd, slices.Repeat([]string{"hunter2"}, n)) // whatever it says, it must say
		}
		if err := cmd.Args(cmd, slices.Repeat([]string{"hunter2"}, 9)); !strings.Contains(cmd.Use, "...") && (err == nil || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s with nine arguments: %v", cmd.CommandPath(), err)
		}
	}
	walk(newRoot(stdio{}))
	if commands < 40 {
		t.Errorf("there are %d commands", commands)
	}
}
