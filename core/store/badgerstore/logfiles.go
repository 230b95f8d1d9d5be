package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core/store"
)

const (
	logExt = ".mem" // of the log that stands behind a memtable

	// logRoom is how much of a log is ever written to: Badger begins a new one
	// at memTable octets, before a transaction.
	logRoom = memTable + 2<<20
)

// logFiles knows which log Badger writes to, and that writing to it needs no
// room on the disk. Badger makes its logs as files without blocks and writes
// through a mapping, where a full disk is a SIGBUS. So the blocks of the log in
// use are allocated before they are written to, and the next log is made ahead
// as an empty file with blocks behind its end, which Badger takes for its own.
// Without them, what needs them is not written.
//
// Btrfs may need room even then, for it never overwrites: there the floor
// alone protects.
type logFiles struct {
	dir     string
	current int
	file    *os.File // the current one
	used    int      // octets written to it at most
	blocks  int      // octets of it that have blocks
	next    bool     // the next one has them all

	free     func() int64 // octets of the disk
	allocate func(f *os.File, size int64) error
}

// newLogFiles follows the logs of an open database.
func newLogFiles(dir string, free func() int64) (*logFiles, error) {
	ids, err := logIDs(dir)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: Badger keeps no log in %s", store.ErrUnavailable, dir)
	}
	l := &logFiles{dir: dir, free: free, allocate: allocate}
	if err := l.follow(ids[len(ids)-1]); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return l, syncDir(dir)
}

// follow takes the log with this id for the one that Badger writes to.
func (l *logFiles) follow(id int) error {
	f, err := os.OpenFile(logPath(l.dir, id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if l.file != nil { // all of it is in place, or the store takes no more writes
		err = l.file.Close()
	}
	l.current, l.file = id, f
	return err
}

// sync returns once what Badger wrote to the current log would survive a loss of
// power. Linux counts what is written through a mapping as written to the file,
// and makes of msync the same call.
func (l *logFiles) sync() error {
	for {
		err := unix.Fdatasync(int(l.file.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sync %s: %w", l.file.Name(), err)
		}
	}
}

// allocate gives f blocks for its first size octets and leaves its length.
func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil // such a file system leaves the floor as the only protection
		case err != nil:
			return fmt.Errorf("reserve %d octets for %s: %w", size, f.Name(), err)
		default:
			return nil
		}
	}
}

// logStep is what a log gets when there is no room for all of it.
const logStep = 1 << 20

// reserve allocates what is not yet. It says whether size octets more can be
// written without any room on the disk; if not, why.
func (l *logFiles) reserve(size int) error {
	need := l.used + size
	if l.blocks < logRoom && (l.blocks < need || l.free() > l.pending()+3*logRoom) {
		if l.make(l.current, os.O_RDWR, logRoom) == nil {
			l.blocks = logRoom
		} else if l.blocks < need {
			if err := l.make(l.current, os.O_RDWR, need+logStep); err != nil {
				return err
			}
			l.blocks = need + logStep
		}
	}
	if l.next {
		return nil
	}
	err := l.make(l.current+1, os.O_RDWR|os.O_CREATE, logRoom)
	if err == nil {
		err = syncDir(l.dir)
	}
	l.next = err == nil
	if l.fits(size) { // it is not needed yet
		return nil
	}
	return err
}

// needs is how much room reserve may want for size octets, and what follows
// from them.
func (l *logFiles) needs(size int) int64 {
	room := l.pending()
	if l.blocks < l.used+size {
		room += int64(size) + logStep
	}
	if !l.fits(size) {
		if room += rotateRoom; !l.next {
			room += logRoom
		}
	}
	return room
}

// fits says that Badger will not begin a new log to write size octets more.
// It may then still not do so.
func (l *logFiles) fits(size int) bool { return l.used+size < memTable }

// make allocates size octets of a log. It leaves alone the room for the tables
// that Badger has still to make: there it would die.
func (l *logFiles) make(id, flags, size int) error {
	if free := l.free(); free < int64(size)+l.pending() {
		return fmt.Errorf("%d MiB are free, and a log needs %d", free>>20, size>>20)
	}
	f, err := os.OpenFile(logPath(l.dir, id), flags, 0o600)
	if err != nil {
		return fmt.Errorf("reserve a log: %w", err)
	}
	return errors.Join(l.allocate(f, int64(size)), f.Close())
}

// pending is the room for the tables of the logs before the current one.
func (l *logFiles) pending() (octets int64) {
	ids, _ := logIDs(l.dir)
	for _, id := range ids {
		if id >= l.current {
			break
		}
		if info, err := os.Lstat(logPath(l.dir, id)); err == nil {
			octets += tableRoom(min(info.Size(), logRoom))
		}
	}
	return octets
}

// tableRoom is what a table of so many octets of a log needs at most.
func tableRoom(log int64) int64 { return log + log/8 + 64<<10 }

// wrote takes note of size octets in the log, and says whether Badger began a
// new one for them.
func (l *logFiles) wrote(size int) (rotated bool, err error) {
	l.used += size
	for {
		info, err := os.Lstat(logPath(l.dir, l.current+1))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if err != nil || info.Size() == 0 {
			return rotated, nil
		}
		wasNext := l.next
		rotated = true
		if err := l.follow(l.current + 1); err != nil {
			return false, err
		}
		l.used, l.blocks, l.next = size, 0, false
		if wasNext {
			l.blocks = logRoom
		}
	}
}

// close removes the log that was made ahead.
func (l *logFiles) close() error {
	if l == nil {
		return nil
	}
	err := l.file.Close()
	if l.next {
		l.next = false
		err = errors.Join(err, os.Remove(logPath(l.dir, l.current+1)))
	}
	return err
}

func logPath(dir string, id int) string {
	return filepath.Join(dir, fmt.Sprintf("%05d%s", id, logExt))
}

// logIDs are the logs in dir, oldest first.
func logIDs(dir string) ([]int, error) {
	names, err := readNames(dir) // in order, as IDs have leading zeros
	if err != nil {
		return nil, err
	}
	var ids []int
	for _, name := range names {
		if number, ok := strings.CutSuffix(name, logExt); ok {
			id, err := strconv.Atoi(number)
			if err != nil {
				return nil, fmt.Errorf("%w: %s is no file of a store", store.ErrDamaged, filepath.Join(dir, name))
			}
			ids = append(ids, id)
		}
	}
	return ids, nil
}
