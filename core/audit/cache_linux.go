package audit

import "golang.org/x/sys/unix"

// dropCache tells the system that what was forced to the disk of that part of
// a file need not stay in memory. It is advice: an error changes nothing.
func dropCache(f file, from, octets int64) {
	_ = unix.Fadvise(int(f.Fd()), from, octets, unix.FADV_DONTNEED)
}

// beginWriting has the system begin to write that part of a file to the disk,
// so that forcing it there takes less time later. An error changes nothing.
func beginWriting(f file, from, octets int64) {
	_ = unix.SyncFileRange(int(f.Fd()), from, octets, unix.SYNC_FILE_RANGE_WRITE)
}
