package badgerstore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core/store"
)

const (
	defaultMinFree = 256 << 20
	ballastSize    = 64 << 20
	ballastName    = "BALLAST"

	// floorShare and ballastShare: the floor that nobody chose and the ballast
	// are no more than such a part of the disk, so that a small one can be used.
	floorShare   = 4
	ballastShare = 8

	// measureEvery and measureOctets bound what is asked and what is missed:
	// how much is free is asked anew after either.
	measureEvery  = 100 * time.Millisecond
	measureOctets = 1 << 20

	// rotateRoom is what beginning a new log may need: a table of the old one,
	// and some tables that are merged.
	rotateRoom = memTable + 16<<20
)

// A space knows how much room is left on the disk of a store, how much shall
// be, and owns the ballast: a file that takes room away from others, to be
// given up when the store itself needs some.
type space struct {
	dir   string
	floor int64 // 0: nothing is watched over
	size  int64 // of the whole ballast
	now   func() time.Time

	mu       sync.Mutex
	free     int64 // when it was last asked
	asked    time.Time
	written  int64 // octets since
	ballast  int64 // octets that it has now
	allocate func(f *os.File, size int64) error
}

// newSpace reads how large the disk of dir is. minFree is as in Options.
func newSpace(dir string, minFree int64) (*space, error) {
	sp := &space{dir: dir, now: time.Now, allocate: allocateFully}
	if minFree < 0 {
		return sp, nil
	}
	_, total, err := statfs(dir)
	if err != nil {
		return nil, err
	}
	if total <= 0 { // a file system that does not tell
		return sp, nil
	}
	sp.floor, sp.size = minFree, min(ballastSize, total/ballastShare)
	if minFree == 0 {
		sp.floor = min(defaultMinFree, total/floorShare)
	}
	// What a copy of the directory made of it may have no blocks.
	var ballast unix.Stat_t
	if unix.Lstat(filepath.Join(dir, ballastName), &ballast) == nil {
		sp.ballast = min(ballast.Size, ballast.Blocks*512)
	}
	return sp, nil
}

// statfs returns what is free for us and what there is, in octets.
func statfs(dir string) (free, total int64, err error) {
	var s unix.Statfs_t
	for {
		err = unix.Statfs(dir, &s)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w: how much of the disk of %s is free cannot be asked: %w", store.ErrUnavailable, dir, err)
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil
}

// allocateFully is allocate, or zeros where the file system allocates nothing
// ahead.
func allocateFully(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	for at, zeros := int64(0), make([]byte, 1<<20); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// low says whether less than the floor is free, before size octets are
// written. It asks the kernel only now and then.
func (sp *space) low(size int) (free int64, low bool) {
	if sp.floor == 0 {
		return 0, false
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.written += int64(size)
	if sp.asked.IsZero() || sp.written > measureOctets || sp.now().Sub(sp.asked) > measureEvery {
		sp.ask()
	}
	return sp.free, sp.free < sp.floor
}

// ask needs mu. What cannot be asked is taken for full: so it is on a disk
// that is gone.
func (sp *space) ask() int64 {
	sp.free, _, _ = statfs(sp.dir)
	sp.asked, sp.written = sp.now(), 0
	return sp.free
}

// freeNow is what is free, or very much where nobody knows.
func (sp *space) freeNow() int64 {
	if sp.floor == 0 {
		return math.MaxInt64
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.ask()
}

// have gives up as much of the ballast as is needed for room octets to be
// free, and says whether they are.
func (sp *space) have(room int64) bool {
	if sp.floor == 0 {
		return true
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	free := sp.ask()
	if free >= room {
		return true
	}
	if sp.ballast == 0 {
		return false
	}
	const step = 1 << 20
	left := max(0, sp.ballast-(room-free+step-1)/step*step)
	path := filepath.Join(sp.dir, ballastName)
	var err error
	if left == 0 {
		err = os.Remove(path)
	} else {
		err = os.Truncate(path, left)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	sp.ballast = left
	return sp.ask() >= room
}

// refill makes the ballast whole again where that leaves twice as much as it
// takes, and the floor.
func (sp *space) refill() error {
	if sp.floor == 0 {
		return nil
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if missing := sp.size - sp.ballast; missing <= 0 || sp.ask() < sp.floor+2*missing {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(sp.dir, ballastName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make the ballast: %w", err)
	}
	if err := errors.Join(sp.allocate(f, sp.size), f.Close()); err != nil {
		// Whatever it has got is not counted, but may be used up.
		return errors.Join(fmt.Errorf("make the ballast: %w", err), os.Remove(f.Name()))
	}
	sp.ballast = sp.size
	sp.ask()
	return nil
}

// fullError says what is missing and what to do.
func (sp *space) fullError(free int64) error {
	return fmt.Errorf("%w: %d MiB are free on the disk of %s, and %d MiB are kept free; delete something there or make it larger. "+
		"Sign-in goes on, and so do deleting, suspending and disabling", store.ErrFull, free>>20, sp.dir, sp.floor>>20)
}

// usedUpError is fullError when the reserve is gone too.
func (sp *space) usedUpError(cause error) error {
	err := fmt.Errorf("%w: nothing is left on the disk of %s, and what was kept in reserve is used up; delete something there or make it larger. "+
		"Sign-in goes on", store.ErrFull, sp.dir)
	if cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}
