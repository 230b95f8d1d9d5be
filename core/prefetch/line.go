//go:build amd64 || arm64

package prefetch

import "unsafe"

// Line begins to fetch the line of the cache that p points into. It reads
// nothing: any p will do, and nothing is different afterwards but how long a
// read takes.
//
//go:noescape
func Line(p unsafe.Pointer)
