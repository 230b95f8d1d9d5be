//go:build unix

package keyring

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWriteFileThenReadFile(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o777))
	k, path := fresh(t), filepath.Join(t.TempDir(), "keyring")
	if err := k.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	got, err := ReadFile(path)
	if err != nil || got.Newest() != k.Newest() {
		t.Fatalf("read %v, %v", got, err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
}

func TestWriteFileNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "keyring"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link, dir} {
		if err := fresh(t).WriteFile(p); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
		t.Errorf("the file is %q, %v", got, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("written through a link")
	}
	if err := fresh(t).WriteFile(filepath.Join(dir, "missing", "keyring")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is missing: %v", err)
	}
}

func TestReadFileRefuses(t *testing.T) {
	dir := t.TempDir()
	good := string(fresh(t).Marshal())
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"):    "no such file",
		dir:                              "is a folder: name the file",
		pipe:                             "not a regular file",
		"/dev/null":                      "not a regular file",
		write("world", good, 0o644):      "has mode 0644, so that others may get at the keys: chmod 600 " + filepath.Join(dir, "world"),
		write("group", good, 0o640):      "chmod 600",
		write("credential", good, 0o440): "chmod 600",
		write("run", good, 0o700):        "chmod 600",
		write("empty", "", 0o600):        "is empty",
		write("blank", " \n\n", 0o600):   "is empty",
		write("large", good+strings.Repeat("#\n", maxText), 0o600): "too large",
		write("cut", good[:len(good)-3], 0o600):                    "line 2: key and key id",
		write("other", "{}\n", 0o600):                              "line 1: no keyring",
	} {
		k, err := ReadFile(path)
		if k != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", path, err, want)
		}
		if err != nil && want != "no such file" && !strings.Contains(err.Error(), path) {
			t.Errorf("%s is not named: %v", path, err)
		}
	}
}

// fakeInfo is a file with an owner that a test cannot give to a real one.
type fakeInfo struct {
	fs.FileInfo
	mode fs.FileMode
	sys  any
}

func (f fakeInfo) Mode() fs.FileMode  { return f.mode }
func (f fakeInfo) Sys() any           { return f.sys }
func (f fakeInfo) Size() int64        { return 100 }
func (f fakeInfo) ModTime() time.Time { return noon }

func TestOwnerAndCredential(t *testing.T) {
	const me, other = 1000, 1001
	const etc, credential = "/etc/keywicket/keyring", "/run/credentials/keywicket.service/keyring"
	for name, tt := range map[string]struct {
		path string
		mode fs.FileMode
		uid  uint32
		ok   bool
	}{
		"mine":                     {etc, 0o600, me, true},
		"root's":                   {etc, 0o400, 0, true},
		"another's":                {etc, 0o600, other, false},
		"another's credential":     {credential, 0o400, other, false},
		"credential":               {credential, 0o440, 0, true},
		"credential of mine":       {credential, 0o440, me, false},
		"credential of another":    {credential, 0o440, other, false},
		"credential, others read":  {credential, 0o444, 0, false},
		"credential, group writes": {credential, 0o460, 0, false},
		"0440 elsewhere":           {etc, 0o440, 0, false},
		"0440 by way of /run":      {"/run/credentials/../../etc/keyring", 0o440, 0, false},
		"0440 beside":              {"/run/credentials-of-mine/keyring", 0o440, 0, false},
		"directory":                {etc, fs.ModeDir | 0o600, me, false},
		"nothing":                  {etc, 0, me, false},
	} {
		err := checkFile(tt.path, fakeInfo{mode: tt.mode, sys: &syscall.Stat_t{Uid: tt.uid}}, me)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkFile(etc, fakeInfo{mode: 0o600, sys: &syscall.Stat_t{Uid: other}}, 0); err != nil {
		t.Errorf("root may not read what belongs to the daemon's user: %v", err)
	}
	if err := checkFile(etc, fakeInfo{mode: 0o600}, me); err == nil {
		t.Error("a file without an owner was taken")
	}
}
