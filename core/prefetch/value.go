package prefetch

import "unsafe"

const lineSize = 64 // of amd64 and most arm64

// Value begins to fetch all of *p.
func Value[T any](p *T) {
	for at := uintptr(0); at < unsafe.Sizeof(*p); at += lineSize {
		Line(unsafe.Add(unsafe.Pointer(p), at))
	}
}

// Text begins to fetch the beginning of text.
func Text(text string) { Line(unsafe.Pointer(unsafe.StringData(text))) }
