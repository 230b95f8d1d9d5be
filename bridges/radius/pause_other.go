//go:build !linux

package radius

import "time"

// pause returns after d, as precisely as Go can.
func pause(d time.Duration) { time.Sleep(d) }
