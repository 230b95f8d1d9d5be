package prefetch_test

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/keywicket/keywicket/core/prefetch"
)

// It reads nothing, so that no address is a wrong one, and it keeps nothing alive.
func TestLine(t *testing.T) {
	for _, p := range []unsafe.Pointer{nil, unsafe.Pointer(t)} {
		prefetch.Line(p)
	}
	if n := testing.AllocsPerRun(100, func() {
		var onStack [64]byte
		prefetch.Line(unsafe.Pointer(&onStack))
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// It reads nothing of what it fetches either, whatever its size is.
func TestValue(t *testing.T) {
	var page [4096]byte
	for _, n := range []int{0, 1} {
		page[n] = 1
		prefetch.Value(&page)
		prefetch.Value(&page[n])
		prefetch.Text(string(page[:n]))
	}
}

// BenchmarkLine reads lines here and there of much memory, in batches.
func BenchmarkLine(b *testing.B) {
	type line [64]byte
	const batch = 32
	lines := make([]line, 4<<20)
	for i := range lines {
		lines[i][0] = 1
	}
	for name, ahead := range map[string]bool{"none": false, "ahead": true} {
		b.Run(name, func(b *testing.B) {
			var at [batch]int
			sum := 0
			for range b.N / batch {
				for i := range at {
					at[i] = rand.IntN(len(lines))
					if ahead {
						prefetch.Line(unsafe.Pointer(&lines[at[i]]))
					}
				}
				for _, i := range at {
					// What is read says where to read next, as work on a packet does.
					sum += int(lines[(i+sum&1)&(len(lines)-1)][0]) * 2
				}
			}
			if sum == 0 && b.N >= batch {
				b.Error("nothing read")
			}
		})
	}
}
