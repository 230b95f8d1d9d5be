package pluginhost_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/pluginhost"
)

// hostMode is the name under which this binary is a host with one plugin, and
// says its process.
const hostMode = "test-host"

// runHost runs the plugin at KEYWICKET_TEST_PLUGIN in KEYWICKET_TEST_DIR until
// it is killed.
func runHost() {
	path := os.Getenv("KEYWICKET_TEST_PLUGIN")
	sum, err := pluginhost.Sum(path)
	if err != nil {
		panic(err)
	}
	h, err := pluginhost.New(pluginhost.Options{Dir: os.Getenv("KEYWICKET_TEST_DIR")})
	if err != nil {
		panic(err)
	}
	for {
		if err := h.Set(context.Background(), []pluginhost.Spec{{Name: "p", Kind: pluginhost.KindStore, Path: path, SHA256: sum}}); err != nil {
			panic(err)
		}
		if s := h.Status(); len(s) > 0 && s[0].PID > 0 {
			fmt.Println(s[0].PID)
			select {}
		}
		time.Sleep(time.Millisecond)
	}
}

// TestNoOrphan: a host that is killed takes its plugins along, and the next one
// takes away what it left.
func TestNoOrphan(t *testing.T) {
	spec, dir := specOf(t, pluginhost.KindStore, "store"), socketDir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self)
	host.Args[0] = hostMode
	host.Env = append(os.Environ(), "KEYWICKET_TEST_PLUGIN="+spec.Path, "KEYWICKET_TEST_DIR="+dir)
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(plugin) {
		t.Fatalf("plugin %q, alive %v: %v", line, alive(plugin), err)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // that it was killed is no news
	for end := time.Now().Add(10 * time.Second); alive(plugin); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("plugin %d outlives its host", plugin)
		}
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 1 {
		t.Fatalf("the dead host left %q", left)
	}
	h, err := pluginhost.New(pluginhost.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 1 {
		t.Errorf("there is still %q", left)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 0 {
		t.Errorf("at the end there is %q", left)
	}
}

// Hosts that begin at once in one place leave each other's folders alone.
func TestHostsBeginAtOnce(t *testing.T) {
	dir := socketDir(t)
	var hosts sync.WaitGroup
	for range 8 {
		hosts.Go(func() {
			for range 100 {
				h, err := pluginhost.New(pluginhost.Options{Dir: dir})
				if err != nil {
					t.Error(err)
					return
				}
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	hosts.Wait()
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestRestartsLeakNothing restarts a plugin again and again; KEYWICKET_RESTARTS
// says how often.
func TestRestartsLeakNothing(t *testing.T) {
	restarts := 12
	if n, err := strconv.Atoi(os.Getenv("KEYWICKET_RESTARTS")); err == nil {
		restarts = n
	}
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	events, err := f.store().Watch(f.ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for range events {
		}
	}()
	again := func() {
		s := f.status()
		kill(t, s.PID)
		f.until("restarted", func(now pluginhost.Status) bool {
			return now.Restarts > s.Restarts && now.State == pluginhost.StateRunning
		})
	}
	for range 3 { // so that what is made once is made
		again()
	}
	descriptors, goroutines := held()
	for range restarts {
		again()
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		d, g := held()
		if d <= descriptors+2 && g <= goroutines+4 { // a life may be ending just now
			t.Logf("after %d restarts: %d descriptors and %d goroutines, before %d and %d", restarts, d, g, descriptors, goroutines)
			break
		}
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("after %d restarts: %d descriptors and %d goroutines, before %d and %d\n%s", restarts, d, g, descriptors, goroutines, buf[:runtime.Stack(buf, true)])
		}
	}
	if left, _ := filepath.Glob(f.dir + "/*/*"); len(left) > 2 {
		t.Errorf("folders of sockets are left: %q", left)
	}
}

// held counts descriptors and goroutines.
func held() (descriptors, goroutines int) {
	runtime.GC()
	fds, _ := os.ReadDir("/proc/self/fd")
	return len(fds), runtime.NumGoroutine()
}

// TestLastError: the administrator reads why a plugin panicked, and not where, and
// when its last fault was.
func TestLastError(t *testing.T) {
	f := run(t, pluginhost.KindDirectory, "directory", quick, nil).wait()
	d := f.directory()
	before := time.Now()
	_, err := d.Lookup(f.ctx, "no-word")
	unable(t, "a foreign error", err)
	if s := f.status(); s.Faults != 1 || s.LastErrorAt.Before(before) {
		t.Errorf("%d faults, %q at %s", s.Faults, s.LastError, s.LastErrorAt)
	}
	_, err = d.Lookup(f.ctx, "panic")
	unable(t, "a panic", err)
	s := f.until("it ended", func(s pluginhost.Status) bool { return s.Restarts > 0 })
	if !strings.Contains(s.LastError, `the last it said: "panic: at the disco`) {
		t.Errorf("%q", s.LastError)
	}
}
