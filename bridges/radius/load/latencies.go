package load

import (
	"math/bits"
	"time"
)

// Latencies count how long things took, to within 3 %.
type Latencies struct {
	counts [40 * steps]uint64
	total  uint64
	most   time.Duration
}

// steps is into how many parts each doubling is divided.
const steps = 32

// Add counts d.
func (l *Latencies) Add(d time.Duration) {
	d = max(d, 0)
	l.counts[min(place(uint64(d)), len(l.counts)-1)]++
	l.total++
	l.most = max(l.most, d)
}

// place is the number of d's part: below steps it is d itself.
func place(d uint64) int {
	shift := max(0, bits.Len64(d)-6)
	return shift*steps + int(d>>shift)
}

// value is the least that falls on place i.
func value(i int) uint64 {
	shift := max(0, i/steps-1)
	return uint64(i-shift*steps) << shift
}

func (l *Latencies) add(other *Latencies) {
	for i, n := range other.counts {
		l.counts[i] += n
	}
	l.total += other.total
	l.most = max(l.most, other.most)
}

// Count is how many there are.
func (l *Latencies) Count() uint64 { return l.total }

// Most is the longest.
func (l *Latencies) Most() time.Duration { return l.most }

// Percentile returns what p percent of them did not take longer than, within 3 %.
func (l *Latencies) Percentile(p float64) time.Duration {
	left := p / 100 * float64(l.total)
	for i, n := range l.counts {
		left -= float64(n)
		if n > 0 && left <= 0 {
			return min(time.Duration(value(i+1)), l.most)
		}
	}
	return l.most
}
