package digest

import "golang.org/x/sys/cpu"

func wide() bool { return cpu.X86.HasAVX2 }

// blocks takes a block of each lane into its state.
//
//go:noescape
func blocks(states *[4][lanes]uint32, words *[block / 4][lanes]uint32, constants *[64]uint32)
