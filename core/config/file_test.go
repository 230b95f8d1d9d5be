package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A folder in the place of a file is told, with the file that is in it.
func TestFolderForFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir+" is a folder; give the path of the file") {
		t.Errorf("an empty folder: %v", err)
	}
	path := filepath.Join(dir, "keywicket.toml")
	if err := os.WriteFile(path, []byte(smallest), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir+" is a folder; the file is "+path) {
		t.Errorf("one with a configuration: %v", err)
	}
	if _, err := ReadFile(dir, 1); err == nil || !strings.Contains(err.Error(), dir+" is a folder; give the path of a file") {
		t.Errorf("ReadFile: %v", err)
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if _, err := ReadFile(path, 3); err == nil || !strings.Contains(err.Error(), "make the file, or mend its path") {
		t.Errorf("one that is not there: %v", err)
	}
	for text, whole := range map[string]bool{"": true, "abc": true, "abcd": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(path, 3); (err == nil) != whole || whole && string(got) != text {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := ReadFile("/dev/null", 3); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("a device: %v", err)
	}
}

// ofPipe returns what read says of a named pipe that nobody writes into, and for which
// it may not wait.
func ofPipe[T any](t *testing.T, read func(path string) (T, error)) (got T, err error) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, err = read(pipe)
	}()
	select {
	case <-done:
		return got, err
	case <-time.After(10 * time.Second):
		t.Fatal("a pipe holds up the reader")
		return got, nil
	}
}

// Nobody waits for who would write into a named pipe, and what is written into one
// is read: a shell makes one of <(…).
func TestLoadPipe(t *testing.T) {
	_, err := ofPipe(t, Load)
	if err == nil || !strings.Contains(err.Error(), "data_dir: this is missing") {
		t.Errorf("nobody writes: %v", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		_, _ = w.WriteString(smallest)
		_ = w.Close()
	}()
	if _, err := Load(fmt.Sprintf("/proc/self/fd/%d", r.Fd())); err != nil {
		t.Error(err)
	}
}

// What a shell would replace in a path is no part of one here.
func TestPathOfShell(t *testing.T) {
	for path, bad := range map[string]bool{"~/data": true, "$HOME/data": true, "${STATE_DIRECTORY}": true, "~data": false, "/a/~/$b": false} {
		_, err := Parse("x", []byte(strings.Replace(smallest, `"data"`, `"`+path+`"`, 1)))
		if said := err != nil && strings.Contains(err.Error(), "stands here as it is, as no shell reads it; write the whole path"); said != bad || !bad && err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
