package prefetch

import "unsafe"

const lineSize = 64 // of amd64 and most arm64

// Value begins to fetch all of *p but the line that p points into, which is
// going to be read first.
func Value[T any](p *T) {
	for at := uintptr(lineSize); at < unsafe.Sizeof(*p); at += lineSize {
		Line(unsafe.Add(unsafe.Pointer(p), at))
	}
}
