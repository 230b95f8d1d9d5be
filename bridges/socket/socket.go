package socket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Options say what socket to make.
type Options struct {
	Path  string
	Name  string      // in errors: "control socket"
	Mode  fs.FileMode // of the file
	Group int         // id of the group that the file is given to; 0: as it comes
}

// Listen makes a socket. Where everybody may connect, its folder must not be
// everybody's to write in, who could put another socket in its place. One that a dead daemon left behind is replaced; one
// that a living daemon listens on, and what is no socket, is an error.
func Listen(opt Options) (*net.UnixListener, error) {
	if opt.Mode&0o002 != 0 {
		if err := checkFolder(opt); err != nil {
			return nil, err
		}
	}
	if err := removeStale(opt); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: opt.Path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("the %s %s cannot be made: %w; does its folder exist, and may this user write there?", opt.Name, opt.Path, err)
	}
	if opt.Group > 0 {
		if err := os.Chown(opt.Path, -1, opt.Group); err != nil {
			return nil, errors.Join(fmt.Errorf("the %s cannot be given to its group: %w", opt.Name, err), l.Close())
		}
	}
	if err := os.Chmod(opt.Path, opt.Mode); err != nil {
		return nil, errors.Join(fmt.Errorf("the %s: %w", opt.Name, err), l.Close())
	}
	return l, nil
}

func checkFolder(opt Options) error {
	folder := filepath.Dir(opt.Path)
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the folder of the %s: %w; make it with install -d %s, or name another path", opt.Name, err, folder)
	case err != nil:
		return fmt.Errorf("the folder of the %s: %w", opt.Name, err)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("the folder %s of the %s can be written by everybody, who could put another socket there; choose another path, or take the right away: chmod o-w %s", folder, opt.Name, folder)
	}
	return nil
}

// removeStale removes the socket that nobody listens on any more.
func removeStale(opt Options) error {
	info, err := os.Lstat(opt.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("the %s: %w", opt.Name, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket; choose another path for the %s", opt.Path, opt.Name)
	}
	conn, err := net.DialTimeout("unix", opt.Path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("another daemon listens on %s; stop it first, or choose another path for the %s", opt.Path, opt.Name)
	}
	return os.Remove(opt.Path)
}
