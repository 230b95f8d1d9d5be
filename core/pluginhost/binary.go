package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxBinary bounds what is read of a file that is to be started.
const maxBinary = 1 << 30

// Sum returns the SHA-256 sum of the program at path, if it could be started
// from there.
func Sum(path string) (sum [sha256.Size]byte, err error) {
	f, err := openBinary(path)
	if err != nil {
		return sum, err
	}
	defer func() { _ = f.Close() }() // only read from
	return copyBinary(io.Discard, f)
}

// loadBinary returns a copy of the program at path which nobody can change any
// more, so that what is started is what was checked. The copy is in memory. An
// error that wraps errMismatch is a program that is not the pinned one.
func loadBinary(path string, want [sha256.Size]byte) (*os.File, error) {
	from, err := openBinary(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }() // only read from
	fd, err := memfd(filepath.Base(path))
	if err != nil {
		return nil, fmt.Errorf("copy %s into memory: %w", path, err)
	}
	to := os.NewFile(uintptr(fd), path)
	sum, err := copyBinary(to, from)
	if err == nil && sum != want {
		err = fmt.Errorf("%w: %s has the SHA-256 sum %s, and %s is configured; if the change is meant, \"keywicket plugin pin %s\" writes the new line",
			errMismatch, path, hex.EncodeToString(sum[:]), hex.EncodeToString(want[:]), path)
	}
	if err == nil {
		_, err = unix.FcntlInt(to.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		_ = to.Close() // of no use
		return nil, err
	}
	return to, nil
}

var errMismatch = errors.New("this is another program")

// memfd makes a file in memory that can be executed, also where the kernel wants
// to be told so.
func memfd(name string) (int, error) {
	const mfdExec = 0x10 // MFD_EXEC, Linux 6.3
	name = name[:min(len(name), 200)]
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|mfdExec)
	if errors.Is(err, unix.EINVAL) { // an older kernel
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	return fd, err
}

func copyBinary(to io.Writer, from *os.File) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, hash), io.LimitReader(from, maxBinary+1))
	if err == nil && n > maxBinary {
		err = fmt.Errorf("%s has more than %d octets", from.Name(), maxBinary)
	}
	return [sha256.Size]byte(hash.Sum(nil)), err
}

// openBinary opens the program at path, unless others could put another one
// there.
func openBinary(path string) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%s is no absolute path", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.Stat(filepath.Dir(real))
	if err != nil {
		return nil, err
	}
	if err := ownedAlone(filepath.Dir(real), dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is no file", real)
	case info.Mode()&0o111 == 0:
		err = fmt.Errorf("%s can't be executed; chmod 755 it", real)
	default:
		err = ownedAlone(real, info)
	}
	if err != nil {
		_ = f.Close() // only opened
		return nil, err
	}
	return f, nil
}

// ownedAlone says what is wrong where others than root and we ourselves could
// write.
func ownedAlone(path string, info os.FileInfo) error {
	if info.Mode()&0o022 != 0 {
		return fmt.Errorf("%s has mode %04o, so that others could put another program there; chmod go-w it", path, info.Mode().Perm())
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to the user %d, who could put another program there; chown it to root", path, s.Uid)
	}
	return nil
}
