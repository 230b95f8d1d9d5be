package pluginhost_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/pluginhost"
)

// TestG2: a plugin gets a small environment, no standard input, a group of its
// own, and nothing that its host has open.
func TestG2(t *testing.T) {
	t.Setenv("KEYWICKET_TEST_SECRET", "hunter2")
	secret := filepath.Join(t.TempDir(), "keyring")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	l, err := net.Listen("unix", socketDir(t)+"/control")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	_, err = f.store().Get(f.ctx, "environment")
	unable(t, "the answer", err)
	want := fmt.Sprintf("%d in /, group 0, input 0, HOME KEYWICKET_PLUGIN LANG PATH PLUGIN_CLIENT_CERT PLUGIN_MAX_PORT PLUGIN_MIN_PORT PLUGIN_PROTOCOL_VERSIONS PLUGIN_UNIX_SOCKET_DIR TMPDIR", os.Getuid())
	if !strings.Contains(err.Error(), want) {
		t.Errorf("it has %s, want %s", err, want)
	}
	ours := map[string]bool{}
	for _, name := range opened(t, os.Getpid()) {
		ours[name] = true
	}
	if !ours[secret] {
		t.Fatalf("nothing is open here: %v", ours)
	}
	for _, name := range opened(t, f.status().PID) {
		own := strings.HasPrefix(name, "anon_inode:") || strings.HasPrefix(name, "/memfd:") || name == "/dev/null" || strings.HasPrefix(name, "/sys/fs/cgroup/") // Go's own
		if !own && (ours[name] && !strings.HasPrefix(name, "pipe:") || strings.HasPrefix(name, "/")) {
			t.Errorf("it has inherited %s", name)
		}
	}
}

// opened names what a process has open.
func opened(t *testing.T, pid int) (names []string) {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		t.Fatalf("process %d has nothing open: %v", pid, err)
	}
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil { // else it was closed just now
			names = append(names, name)
		}
	}
	return names
}

// fork has the plugin start a child, and returns its process.
func (f *fixture) fork(how string) (child int) {
	f.t.Helper()
	_, err := f.store().Get(f.ctx, how)
	text := strings.TrimRight(fmt.Sprint(err), "\")")
	child, convErr := strconv.Atoi(text[strings.LastIndex(text, " ")+1:])
	if convErr != nil {
		f.t.Fatalf("%v: %v", err, convErr)
	}
	if !alive(child) {
		f.t.Fatalf("there is no child %d: %v", child, err)
	}
	return child
}

// TestChildren: what a plugin leaves behind dies with it; and what has left its
// group, and holds its pipes, holds nobody up.
func TestChildren(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	child := f.fork("fork")
	kill(t, f.status().PID)
	f.until("restarted", func(s pluginhost.Status) bool { return s.Restarts == 1 && s.State == pluginhost.StateRunning })
	for end := time.Now().Add(10 * time.Second); alive(child); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the child %d lives", child)
		}
	}
	child = f.fork("fork away")
	defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }()
	kill(t, f.status().PID)
	f.until("restarted", func(s pluginhost.Status) bool { return s.Restarts == 2 && s.State == pluginhost.StateRunning })
	if !alive(child) {
		t.Errorf("the child %d did not get away, and this has tried nothing", child)
	}
}

// alive says whether a process runs; one that waits for its parent does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
