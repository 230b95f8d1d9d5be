package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/config"
)

// A manager stands for systemd: it receives what a daemon sends.
type manager struct {
	conn     *net.UnixConn
	messages chan string
}

// newManager makes the socket that NOTIFY_SOCKET names. It must not be called
// in a bubble of synctest: reading is waiting for another process.
func newManager(t *testing.T, watchdog time.Duration) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "kw") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{conn: conn, messages: make(chan string, 1000)}
	go func() {
		defer close(m.messages)
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			m.messages <- string(buffer[:n])
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	return m
}

// all returns the messages up to the one that says STOPPING.
func (m *manager) all(t *testing.T) []string {
	t.Helper()
	var got []string
	for {
		select {
		case message, ok := <-m.messages:
			if !ok {
				t.Fatalf("the socket closed after %q", got)
			}
			got = append(got, message)
			if strings.HasPrefix(message, "STOPPING=1") {
				return got
			}
		case <-time.After(time.Minute):
			t.Fatalf("STOPPING did not come; there were %q", got)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func isReady(context.Context) error { return nil }

// check compares messages; the time of a reload is whatever it is.
func check(t *testing.T, got []string, want ...string) {
	t.Helper()
	clock := regexp.MustCompile(`^(RELOADING=1\nMONOTONIC_USEC=)[1-9][0-9]*$`)
	for i := range got {
		got[i] = clock.ReplaceAllString(got[i], "${1}n")
	}
	if !slices.Equal(got, want) {
		t.Errorf("messages\n%q, want\n%q", got, want)
	}
}

func TestNotifyOrder(t *testing.T) {
	m := newManager(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	n := newNotifier(quiet(), time.Hour)
	n.ready(ctx, isReady)
	n.reloading()()
	cancel()
	n.stop()
	n.reloading()() // too late: STOPPING is the last word
	check(t, m.all(t), "STATUS=Starting", "READY=1\nSTATUS=Ready", "RELOADING=1\nMONOTONIC_USEC=n", "READY=1", "STOPPING=1\nSTATUS=Stopping")
	if err := m.conn.Close(); err != nil {
		t.Error(err)
	}
	for message := range m.messages {
		t.Errorf("after the last word: %q", message)
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if value, ok := os.LookupEnv(name); ok {
			t.Errorf("%s is still %q", name, value)
		}
	}
}

// TestNotifyFailedStart: what stops before it was ready says so too.
func TestNotifyFailedStart(t *testing.T) {
	m := newManager(t, time.Minute)
	newNotifier(quiet(), time.Hour).stop()
	check(t, m.all(t), "STATUS=Starting", "STOPPING=1\nSTATUS=Stopping")
}

// newConfig makes what "keywicket init" makes, with a port that is free.
func newConfig(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "kw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	dir := filepath.Join(parent, "d")
	if err := initialize(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keywicket.toml")
	text := bytes.Replace(config.Example(dir), []byte(`"127.0.0.1:1812"`), []byte(`"127.0.0.1:0"`), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNotifyServe: the daemon itself says it, with a real engine.
func TestNotifyServe(t *testing.T) {
	m := newManager(t, time.Hour)
	f, err := loadWhole(newConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := newNotifier(quiet(), time.Hour)
	err = serve(ctx, f, quiet(), func(d *daemon) {
		d.announce(ctx, n)
		time.AfterFunc(time.Second, cancel)
	})
	n.stop()
	if err != nil {
		t.Error(err)
	}
	check(t, m.all(t), "STATUS=Starting", "READY=1\nSTATUS=Ready", "WATCHDOG=1", "STOPPING=1\nSTATUS=Stopping")
}

// TestNotifyWatchdog: pings come while the store answers, go on for the time of
// patience while it does not, then stop, and come again with the store.
func TestNotifyWatchdog(t *testing.T) {
	const watchdog, patience = 2 * time.Minute, 15 * time.Minute
	broken := errors.New("the disk is gone")
	m := newManager(t, watchdog)
	count := map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begin, asked, hanging := time.Now(), 0, make(chan struct{})
		n := newNotifier(quiet(), patience)
		n.ready(ctx, func(context.Context) error {
			asked++
			switch at := time.Since(begin); {
			case at < 10*time.Minute:
				return nil
			case at < 40*time.Minute: // 15 minutes of patience, and 15 without pings
				return broken
			case at < 60*time.Minute:
				return nil
			}
			hanging <- struct{}{} // in the disk, where no context counts
			return nil
		})
		step := func(d time.Duration, name string) {
			time.Sleep(d)
			synctest.Wait()
			n.send("STATUS=" + name)
		}
		step(10*time.Minute-time.Second, "ready")
		step(15*time.Minute, "patient")
		step(15*time.Minute, "broken")
		step(20*time.Minute, "healed")
		step(15*time.Minute+20*time.Second, "hanging")
		before := asked
		step(30*time.Minute, "hung")
		if asked != before {
			t.Errorf("%d more questions while one hangs", asked-before)
		}
		cancel()
		n.stop() // does not wait for what hangs
		select {
		case <-hanging: // lets the question end
		default:
			t.Error("no question hangs, so that nothing was tried")
		}
	})
	phase := 0
	names := []string{"ready", "patient", "broken", "healed", "hanging", "hung", "stopping"}
	var status []string
	for _, message := range m.all(t) {
		switch name, isStatus := strings.CutPrefix(message, "STATUS="); {
		case message == "WATCHDOG=1":
			count[names[phase]]++
		case isStatus && phase < len(names)-1 && name == names[phase]:
			phase++
		case isStatus:
			status = append(status, name)
		}
	}
	// Every 10 s, which is as often as readiness is looked at.
	for name, want := range map[string]int{"ready": 60, "patient": 90, "broken": 0, "healed": 120, "hung": 0, "stopping": 0} {
		if got := count[name]; got < want-1 || got > want+1 || want == 0 && got > 0 {
			t.Errorf("%s: %d pings, want %d", name, got, want)
		}
	}
	if count["hanging"] == 0 {
		t.Error("no ping in the time of patience while a question hangs")
	}
	const unready = "Not ready: the store does not answer; the log says why"
	if want := []string{"Starting", unready, "Ready", unready}; !slices.Equal(status, want) {
		t.Errorf("statuses %q, want %q", status, want)
	}
}

// TestNotifyInterval: a late answer and the pause after it leave room for a ping.
func TestNotifyInterval(t *testing.T) {
	for _, tt := range []struct {
		usec, pid string
		watchdog  bool
		every     time.Duration
	}{
		{"8000000", "", true, 2 * time.Second},
		{"3600000000", strconv.Itoa(os.Getpid()), true, readyInterval},
		{"8000000", "1", false, readyInterval}, // meant for somebody else
		{"0", "", false, readyInterval},
		{"soon", "", false, readyInterval},
	} {
		newManager(t, 0)
		t.Setenv("WATCHDOG_USEC", tt.usec)
		t.Setenv("WATCHDOG_PID", tt.pid)
		n := newNotifier(quiet(), time.Hour)
		if n.watchdog != tt.watchdog || n.every != tt.every {
			t.Errorf("%+v: watchdog %v every %v", tt, n.watchdog, n.every)
		}
		n.stop()
	}
}

// TestCrash: a panic, like the ABRT of a watchdog, does not look like exitUsage,
// after which nobody would start the daemon again.
func TestCrash(t *testing.T) {
	m := newManager(t, 0)
	cmd := exec.Command("keywicket", "serve", "--config", newConfig(t))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for ready := false; !ready; {
		select {
		case message := <-m.messages:
			ready = strings.HasPrefix(message, "READY=1")
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Fatalf("it is not ready: %v\n%s", cmd.Wait(), stderr.String())
		}
	}
	if err := cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Error(err)
	}
	err := cmd.Wait()
	if ended := cmd.ProcessState.Sys().(syscall.WaitStatus); !ended.Signaled() || ended.Signal() != syscall.SIGABRT {
		t.Errorf("it ended with %v, want the signal ABRT\n%s", err, stderr.String())
	}
	if !strings.Contains(stderr.String(), "goroutine ") {
		t.Errorf("nothing says where it was:\n%s", stderr.String())
	}
}

// TestNotifyNobody: without a service manager, and with one that is not there,
// everything works and nothing is sent.
func TestNotifyNobody(t *testing.T) {
	for _, address := range []string{"", filepath.Join(t.TempDir(), "nobody")} {
		t.Setenv("NOTIFY_SOCKET", address)
		n := newNotifier(quiet(), time.Hour)
		if n != nil {
			t.Errorf("%q: a notifier", address)
		}
		n.ready(t.Context(), isReady)
		n.reloading()()
		n.stop()
	}
}
