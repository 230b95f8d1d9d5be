package radius

import (
	"time"

	"golang.org/x/sys/unix"
)

// pause returns after d, as precisely as the kernel can.
func pause(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // a signal ends it early
}
