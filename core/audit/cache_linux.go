package audit

import "golang.org/x/sys/unix"

// dropCache tells the system that what was forced to the disk of that part of
// a file need not stay in memory. It is advice: an error changes nothing.
func dropCache(f file, from, octets int64) {
	_ = unix.Fadvise(int(f.Fd()), from, octets, unix.FADV_DONTNEED)
}
