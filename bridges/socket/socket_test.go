package socket_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/bridges/socket"
)

// The kernel tells of the process at the other end.
func TestPeerOf(t *testing.T) {
	path := filepath.Join(shortDir(t), "a.sock")
	l, err := socket.Listen(socket.Options{Path: path, Name: "test socket", Mode: 0o600})
	must(t, err)
	defer l.Close()
	c, err := net.Dial("unix", path)
	must(t, err)
	defer c.Close()
	got, err := socket.PeerOf(c.(*net.UnixConn))
	must(t, err)
	if int(got.UID) != os.Geteuid() || int(got.PID) != os.Getpid() || len(got.Groups) == 0 {
		t.Errorf("%+v", got)
	}
	if !strings.HasPrefix(got.String(), "uid ") {
		t.Errorf("%q", got.String())
	}
	must(t, c.Close())
	if _, err := socket.PeerOf(c.(*net.UnixConn)); err == nil {
		t.Error("a closed connection has a peer")
	}
}

// A socket has the mode that was asked for. A dead one is replaced; a living
// one and what is no socket are left alone.
func TestListen(t *testing.T) {
	path := filepath.Join(shortDir(t), "a.sock")
	l, err := socket.Listen(socket.Options{Path: path, Name: "test socket", Mode: 0o666})
	must(t, err)
	defer l.Close()
	info, err := os.Lstat(path)
	must(t, err)
	if info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v", info.Mode())
	}
	again := func(path string) error {
		l, err := socket.Listen(socket.Options{Path: path, Name: "test socket", Mode: 0o600})
		if err == nil {
			must(t, l.Close())
		}
		return err
	}
	if err := again(path); err == nil || !strings.Contains(err.Error(), "another daemon") || !strings.Contains(err.Error(), "test socket") {
		t.Errorf("over a living one: %v", err)
	}
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	must(t, again(path))

	file := filepath.Join(shortDir(t), "a.sock")
	must(t, os.WriteFile(file, []byte("mine"), 0o600))
	if err := again(file); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("over a file: %v", err)
	}
	if _, err := os.Lstat(file); err != nil {
		t.Error("the file is gone")
	}
	for _, mode := range []fs.FileMode{0o600, 0o666} {
		opt := socket.Options{Path: filepath.Join(shortDir(t), "none", "a.sock"), Name: "test socket", Mode: mode}
		if _, err := socket.Listen(opt); !errors.Is(err, fs.ErrNotExist) || mode == 0o666 && !strings.Contains(err.Error(), "make it with install -d "+filepath.Dir(opt.Path)) {
			t.Errorf("without its folder, mode %v: %v", mode, err)
		}
		open := shortDir(t)
		must(t, os.Chmod(open, 0o777|fs.ModeSticky))
		opt.Path = filepath.Join(open, "a.sock")
		l, err := socket.Listen(opt)
		if err == nil {
			must(t, l.Close())
		}
		if (err == nil) != (mode == 0o600) {
			t.Errorf("in a folder of everybody, mode %v: %v", mode, err)
		}
	}
}

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kw")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
