package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/keywicket/keywicket/plugins/pam/conversation"
	"github.com/keywicket/keywicket/plugins/pam/host"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// maxInput is the largest request that is read, in octets.
const maxInput = 64 << 10

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 0:
		// Not by its path: the host runs a copy that has none.
		sdk.ServeDirectory(host.New(host.Options{Program: "/proc/self/exe"}))
	case len(args) == 1 && args[0] == conversation.Verb:
		os.Exit(answer(os.Stdin, os.Stdout, os.Stderr))
	default:
		fmt.Fprintln(os.Stderr, "keywicket-pam is run by \"keywicket pam check\", and by Keywicket as a plugin; it has no other use")
		os.Exit(2)
	}
}

// answer has one conversation.
func answer(in io.Reader, out, stderr io.Writer) int {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil { // the password is in memory
		fmt.Fprintln(stderr, "RLIMIT_CORE:", err)
		return 1
	}
	var r conversation.Request
	if err := json.NewDecoder(io.LimitReader(in, maxInput)).Decode(&r); err != nil {
		fmt.Fprintln(stderr, "the request cannot be read") // the error could hold a part of it
		return 2
	}
	defer clear(r.Password)
	result, err := converse(r)
	if err == nil {
		err = json.NewEncoder(out).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
