//go:build unix

package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	filePrefix = "audit-"
	fileSuffix = ".jsonl"
	dirMode    = 0o700
	fileMode   = 0o600
)

// fileName returns the name of a file of the log.
func fileName(number uint64) string {
	return fmt.Sprintf("%s%06d%s", filePrefix, number, fileSuffix)
}

// fileNumber returns the number of a file of the log, and false for any other.
func fileNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, filePrefix)
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, fileSuffix); !ok || len(digits) > 18 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil && number > 0 && fileName(number) == name
}

// listFiles returns the numbers of the files in dir, in their order.
func listFiles(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		if number, ok := fileNumber(e.Name()); ok {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// openFile opens a file of the log for reading. A link or a pipe in its place
// is an error and makes nobody wait.
func openFile(dir string, number uint64) (*os.File, error) {
	return openRegular(filepath.Join(dir, fileName(number)))
}

func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lockDir makes dir if need be and takes it for this process alone, until the
// file that it returns is closed.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.IsDir():
		err = fmt.Errorf("%s is not a directory", dir)
	case info.Mode().Perm()&0o022 != 0:
		err = fmt.Errorf("the directory %s has mode %04o, so that others may write there: chmod 700 %[1]s", dir, info.Mode().Perm())
	default:
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("another process writes the audit log in %s", dir)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// A file is what the log is written to.
type file interface {
	io.Writer
	Sync() error
	Close() error
	Stat() (fs.FileInfo, error)
	Fd() uintptr
}

// An opener opens files for writing; tests put one in that fails.
type opener func(path string, flag int, mode fs.FileMode) (file, error)

func openOS(path string, flag int, mode fs.FileMode) (file, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW, mode)
	if err != nil {
		return nil, err // and not a *os.File that is nil
	}
	return f, nil
}

// errLongLine says that a line was passed over.
var errLongLine = errors.New("the line is longer than any that is written")

// A lineReader reads lines in bounded memory. After io.EOF it may be asked
// again, for what was written in the meantime.
type lineReader struct {
	r          io.Reader
	buf        []byte
	start, end int   // what was read and not yet returned
	offset     int64 // of the next line
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: r, buf: make([]byte, 4<<10)}
}

// rest returns how many octets of an unfinished line stand at the end.
func (l *lineReader) rest() int64 { return int64(l.end - l.start) }

// next returns the next whole line without its end. The line is valid until
// the next call. A line that is too long is errLongLine, once.
func (l *lineReader) next() ([]byte, error) {
	long := false
	for scanned := 0; ; {
		if i := bytes.IndexByte(l.buf[l.start+scanned:l.end], '\n'); i >= 0 {
			line := l.buf[l.start : l.start+scanned+i]
			l.start += len(line) + 1
			l.offset += int64(len(line)) + 1
			if long {
				return nil, errLongLine
			}
			return line, nil
		}
		switch {
		case l.end-l.start < len(l.buf):
		case len(l.buf) <= maxLine:
			l.buf = append(l.buf, make([]byte, min(len(l.buf), maxLine+1-len(l.buf)))...)
		default: // no end in sight: let it pass
			long = true
			l.offset += int64(len(l.buf))
			l.start, l.end = 0, 0
		}
		scanned = l.end - l.start
		copy(l.buf, l.buf[l.start:l.end])
		l.start, l.end = 0, scanned
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		switch {
		case n > 0:
		case err == nil:
			return nil, io.ErrNoProgress
		case long:
			return nil, errLongLine
		default:
			return nil, err
		}
	}
}
