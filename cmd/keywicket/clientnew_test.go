package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSecretForTheGroupOfItsFolder: what root makes for a daemon that runs as
// another user can be read there, and by nobody else.
func TestSecretForTheGroupOfItsFolder(t *testing.T) {
	for gid, mode := range map[int]fs.FileMode{os.Getegid(): 0o600, 4711: 0o640} {
		if gid != os.Getegid() && os.Geteuid() != 0 {
			t.Skip("only root can give a folder away")
		}
		dir := t.TempDir()
		if err := os.Chown(dir, -1, gid); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "vpn1.secret")
		if err := writeSecret(path); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Gid; info.Mode() != mode || int(got) != gid {
			t.Errorf("mode %v and group %d, want %v and %d", info.Mode(), got, mode, gid)
		}
	}
}

// What cannot be written whole does not stay: the name would be taken.
func TestSecretWhole(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no tmpfs could be mounted: %v", err)
		}
		t.Skipf("no tmpfs could be mounted, which takes root: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vpn1.secret")
	if err := writeSecret(path); err == nil {
		t.Error("it was written where there is no room")
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("something of it is left")
	}
}
