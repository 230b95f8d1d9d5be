//go:build !amd64 && !arm64

package prefetch

import "unsafe"

// Line would begin to fetch the line of the cache that p points into.
func Line(unsafe.Pointer) {}
