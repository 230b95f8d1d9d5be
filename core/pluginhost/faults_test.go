package pluginhost_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/sdk"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// deadline is how long a call may take, with room for a machine that is busy.
const deadline = 2*time.Second + 1500*time.Millisecond

// TestStartsThatFail: whatever a program does instead of starting, the host
// lives, says what it was, and a call is an inability in its deadline.
func TestStartsThatFail(t *testing.T) {
	t.Parallel() // one of them waits for as long as a start may take
	for mode, want := range map[string]string{
		"exits":          "no room in the inn",
		"garbage-line":   `is not the one of a plugin: "garbage \x1b[31m`,
		"elsewhere":      "which is no socket in the folder",
		"silent":         "timeout while waiting for plugin to start",
		"plain":          "tls: first record does not look like a TLS handshake",
		"garbage-frames": "tls: first record does not look like a TLS handshake",
		"raw-garbage":    "describe: ",
		"version-2":      "incompatible API version",
		"netrpc":         "unsupported plugin protocol",
		"directory":      "it is a directory, and a store is configured",
		"absent":         "no such file",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			restart := pluginhost.Restart{First: time.Hour}
			f := run(t, pluginhost.KindStore, mode, restart, func(s *pluginhost.Spec) {
				if mode == "absent" {
					s.Path += "-which-is-not-there"
				}
			})
			s := f.until("waiting", func(s pluginhost.Status) bool { return s.State == pluginhost.StateWaiting })
			if !strings.Contains(s.LastError, want) || strings.ContainsAny(s.LastError, "\n\x1b") || len(s.LastError) > 1000 {
				t.Errorf("it says %q, want %q in it", s.LastError, want)
			}
			within(t, "a call", time.Second, func() {
				_, err := f.store().Get(f.ctx, "k")
				unable(t, "Get", err)
			})
		})
	}
}

// TestG1: a program with another sum than the pinned one is not run, also where
// it was swapped while the pinned one ran; nor is one that others could write.
func TestG1(t *testing.T) {
	restart := pluginhost.Restart{First: 20 * time.Millisecond, Crashes: 3, Quarantine: time.Hour}
	// A script is the whole of its program: it says that it was run.
	script := func(dir, text string) string {
		path := filepath.Join(dir, "script")
		if err := os.WriteFile(path+".new", []byte("#!/bin/sh\ntouch "+dir+"/ran\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ran := func(dir string) bool { _, err := os.Stat(dir + "/ran"); return err == nil }

	dir := t.TempDir()
	f := run(t, pluginhost.KindStore, "store", restart, func(s *pluginhost.Spec) { s.Path = script(dir, "exit 1") }) // with the sum of another
	s := f.until("quarantined", func(s pluginhost.Status) bool { return s.State == pluginhost.StateQuarantined })
	if !strings.Contains(s.LastError, "SHA-256") || ran(dir) {
		t.Errorf("%q; it ran: %v", s.LastError, ran(dir))
	}

	dir = t.TempDir()
	f = run(t, pluginhost.KindStore, "store", restart, func(s *pluginhost.Spec) {
		self, err := os.ReadFile(s.Path)
		if err != nil {
			t.Fatal(err)
		}
		s.Path = filepath.Join(dir, modePrefix+"store")
		if err := os.WriteFile(s.Path, self, 0o755); err != nil {
			t.Fatal(err)
		}
	}).wait()
	if err := os.Rename(script(dir, "exit 1"), f.spec.Path); err != nil {
		t.Fatal(err)
	}
	if err := f.Set(f.ctx, []pluginhost.Spec{f.spec}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store().Apply(f.ctx, store.Batch{{Action: store.Put, Key: "a"}}); err != nil {
		t.Errorf("the one that runs goes on: %v", err)
	}
	if s := f.status(); s.Restarts != 0 || !strings.Contains(s.LastError, "will not start again: this is another program") {
		t.Errorf("a reload does not say that it is another program now: %+v", s)
	}
	kill(t, f.status().PID)
	f.until("quarantined", func(s pluginhost.Status) bool { return s.State == pluginhost.StateQuarantined })
	if ran(dir) {
		t.Error("the program that was put there ran")
	}

	for _, open := range []string{"file", "folder"} {
		dir := t.TempDir()
		path := script(dir, "exit 1")
		sum, err := pluginhost.Sum(path)
		if err != nil {
			t.Fatal(err)
		}
		writable := map[string]string{"file": path, "folder": dir}[open]
		if err := os.Chmod(writable, 0o777); err != nil {
			t.Fatal(err)
		}
		f := run(t, pluginhost.KindStore, "store", restart, func(s *pluginhost.Spec) { s.Path, s.SHA256 = path, sum })
		s := f.until("quarantined", func(s pluginhost.Status) bool { return s.State == pluginhost.StateQuarantined })
		if !strings.Contains(s.LastError, "chmod go-w") || ran(dir) {
			t.Errorf("a %s that others can write: %q; it ran: %v", open, s.LastError, ran(dir))
		}
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("process %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// TestG3Hang: a call that hangs ends in its deadline, and the others go on.
func TestG3Hang(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	s := f.store()
	for _, key := range []string{"hang"} {
		within(t, key, deadline, func() {
			_, err := s.Get(f.ctx, key)
			unable(t, key, err)
		})
		within(t, key+" in Apply", deadline, func() {
			_, err := s.Apply(f.ctx, store.Batch{{Action: store.Put, Key: key}})
			unable(t, key, err)
		})
	}
	if _, err := s.Get(f.ctx, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another call: %v", err)
	}
	if f.status().Restarts != 0 {
		t.Error("it was started anew")
	}
}

// TestBreaker: where no call is answered, calls soon fail at once, and work
// again when the plugin does.
func TestBreaker(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	s := f.store()
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			_, err := s.Get(f.ctx, "hang")
			unable(t, "hang", err)
		})
	}
	calls.Wait()
	within(t, "a call while none is answered", 500*time.Millisecond, func() {
		_, err := s.Get(f.ctx, "k")
		unable(t, "broken", err)
	})
	if st := f.status(); st.Problem == "" || st.Up() {
		t.Errorf("%+v", st)
	}
	f.until("answering again", func(pluginhost.Status) bool {
		_, err := s.Get(f.ctx, "k")
		return errors.Is(err, store.ErrNotFound)
	})
	if st := f.status(); !st.Up() {
		t.Errorf("%+v", st)
	}
}

// TestG4: a stopped process is killed within three seconds, and started anew.
func TestG4(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	pid := f.status().PID
	start := time.Now()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for alive(pid) {
		if took := time.Since(start); took > 30*time.Second {
			t.Fatalf("it lives after %s", took)
		}
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(start); took > deadline+time.Second { // three, with room for a machine that is busy
		t.Errorf("it took %s", took)
	} else {
		t.Logf("killed after %s", took)
	}
	s := f.until("started anew", func(s pluginhost.Status) bool { return s.State == pluginhost.StateRunning && s.PID != pid })
	if !strings.Contains(s.LastError, "did not answer") {
		t.Errorf("it says %q", s.LastError)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

// TestG5: a call during which the plugin dies is an inability; a read is asked
// once more, a write is not.
func TestG5(t *testing.T) {
	for _, how := range []string{"exit", "panic"} {
		f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
		within(t, how, 2*deadline, func() {
			_, err := f.store().Get(f.ctx, how) // and the second time it dies too
			unable(t, how, err)
		})
		f.until("twice dead", func(s pluginhost.Status) bool { return s.Restarts == 2 && s.State == pluginhost.StateRunning })
		_, err := f.store().Apply(f.ctx, store.Batch{{Action: store.Put, Key: how}})
		unable(t, how+" in Apply", err)
		s := f.until("dead once more", func(s pluginhost.Status) bool { return s.Restarts == 3 && s.State == pluginhost.StateRunning })
		if how == "panic" && !strings.Contains(f.log.String(), "at the disco") {
			t.Errorf("the panic is not in the log: %+v", s)
		}
	}
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	result := make(chan error, 1)
	go func() { _, err := f.store().Get(f.ctx, "slow"); result <- err }()
	time.Sleep(50 * time.Millisecond) // it is on its way; if not, this tries less
	kill(t, f.status().PID)
	if err := <-result; !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a read that was asked once more: %v", err)
	}
}

// TestG6: what ends again and again is quarantined, and a Set tries it at once.
func TestG6(t *testing.T) {
	f := run(t, pluginhost.KindStore, "exits", pluginhost.Restart{First: time.Millisecond, Most: 4 * time.Millisecond, Quarantine: time.Hour}, nil)
	s := f.until("quarantined", func(s pluginhost.Status) bool { return s.State == pluginhost.StateQuarantined })
	if s.Restarts != 5 || time.Until(s.Until) < 50*time.Minute {
		t.Errorf("%+v", s)
	}
	within(t, "a call", time.Second, func() {
		_, err := f.store().Get(f.ctx, "k")
		unable(t, "quarantined", err)
		if !strings.Contains(fmt.Sprint(err), "quarantined") {
			t.Errorf("it says %q", err)
		}
	})
	if err := f.Set(f.ctx, []pluginhost.Spec{f.spec}); err != nil {
		t.Fatal(err)
	}
	f.until("tried again", func(s pluginhost.Status) bool { return s.Restarts > 5 })
}

// A Set of one that runs is no token for its next end, which waits as every other
// does. One that is being started is tried at once after a start that fails.
func TestG6Set(t *testing.T) {
	long := pluginhost.Restart{First: time.Hour, Most: time.Hour}
	f := run(t, pluginhost.KindStore, "store", long, nil).wait()
	set := func() {
		t.Helper()
		if err := f.Set(f.ctx, []pluginhost.Spec{f.spec}); err != nil {
			t.Fatal(err)
		}
	}
	set()
	kill(t, f.status().PID)
	f.until("waiting", func(s pluginhost.Status) bool { return s.State == pluginhost.StateWaiting && s.Restarts == 1 })
	set()
	f.until("tried at once", func(s pluginhost.Status) bool { return s.State == pluginhost.StateRunning && s.Restarts == 1 })

	dir := t.TempDir()
	f = run(t, pluginhost.KindStore, "store", long, func(s *pluginhost.Spec) {
		s.Path = filepath.Join(dir, "script")
		script := "#!/bin/sh\nuntil [ -e " + dir + "/go ]; do sleep 0.02; done\nexit 1\n"
		err := os.WriteFile(s.Path, []byte(script), 0o755)
		if err == nil {
			s.SHA256, err = pluginhost.Sum(s.Path)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	set()
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.until("tried twice", func(s pluginhost.Status) bool { return s.State == pluginhost.StateWaiting && s.Restarts == 2 })
}

// The ends of the program before do not count against the next one.
func TestG6Swap(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", pluginhost.Restart{First: time.Millisecond, Crashes: 2, Quarantine: time.Hour}, nil).wait()
	kill(t, f.status().PID)
	f.until("started anew", func(s pluginhost.Status) bool { return s.State == pluginhost.StateRunning && s.Restarts == 1 })
	if err := f.Set(f.ctx, []pluginhost.Spec{specOf(t, pluginhost.KindStore, "store")}); err != nil {
		t.Fatal(err)
	}
	kill(t, f.status().PID)
	f.until("started anew", func(s pluginhost.Status) bool { return s.State == pluginhost.StateRunning && s.Restarts == 2 })
}

// TestG7: an answer that is too large is none, and whatever a plugin says, the
// log takes 100 lines a second of it, cut and quoted.
func TestG7(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	s := f.store()
	_, err := s.Get(f.ctx, "1 MiB") // larger than a value may be
	unable(t, "too large a value", err)
	_, err = s.Get(f.ctx, "lines")
	if !errors.Is(err, store.ErrNotFound) {
		unable(t, "lines", err) // it takes as long as it takes
	}
	if n := strings.Count(f.log.String(), "the plugin says"); n == 0 || n > 100*10 {
		t.Errorf("%d lines of it are in the log", n)
	}
	if strings.Contains(f.log.String(), "\x1b") {
		t.Error("the log has an escape")
	}
	_, err = s.Get(f.ctx, "noise") // a GB in one line
	if !errors.Is(err, store.ErrNotFound) {
		unable(t, "noise", err)
	}
	if n := len(f.log.String()); n > 4<<20 {
		t.Errorf("the log has %d octets", n)
	}
	f.until("answering", func(pluginhost.Status) bool { _, err := s.Get(f.ctx, "k"); return errors.Is(err, store.ErrNotFound) })
}

// TestHugeAnswers: an answer that no message holds costs no memory, and is none.
func TestHugeAnswers(t *testing.T) {
	f := run(t, pluginhost.KindStore, "huge", quick, nil).wait()
	s := f.store()
	if e, err := s.Get(f.ctx, "9"); err != nil || len(e.Value) != 9 {
		t.Fatalf("%v, %v", e, err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, size := range []int{store.MaxValue + 1, wire.MaxMessage + 1, 1 << 30} {
		_, err := s.Get(f.ctx, strconv.Itoa(size))
		unable(t, fmt.Sprintf("%d octets", size), err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("%d MiB were allocated for it", grown>>20)
	}
	if e, err := s.Get(f.ctx, "9"); err != nil || len(e.Value) != 9 {
		t.Errorf("afterwards: %v, %v", e, err)
	}
}

// TestG8Store: what breaks the contract is no answer.
func TestG8Store(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	s := f.store()
	for _, key := range []string{"another", "no revision", "no-word"} {
		_, err := s.Get(f.ctx, key)
		unable(t, key, err)
	}
	for _, prefix := range []string{"order", "prefix", "after"} {
		_, err := s.Scan(f.ctx, prefix, "after 1", 5)
		unable(t, prefix, err)
	}
	_, err := s.Scan(f.ctx, "many", "", 2)
	unable(t, "many", err)
	_, err = s.Apply(f.ctx, store.Batch{{Action: store.Put, Key: "no revision"}})
	unable(t, "Apply without a revision", err)
	for _, prefix := range []string{"other", "nothing"} {
		events, err := s.Watch(f.ctx, prefix)
		if err != nil {
			t.Fatal(err)
		}
		if e := <-events; !e.Lost {
			t.Errorf("Watch of %q tells %+v", prefix, e)
		}
	}
	if st := f.status(); st.Faults < 8 || st.Restarts != 0 {
		t.Errorf("%+v", st)
	}
}

// TestG8Directory: an answer for another account, and an account that cannot be
// one, are no answer; nor is a verdict that is none.
func TestG8Directory(t *testing.T) {
	f := run(t, pluginhost.KindDirectory, "directory", quick, nil).wait()
	d := f.directory()
	for _, name := range []string{"no id", "long id", "no name", "no group", "many groups", "two-step", "not utf-8", "attributes"} {
		_, err := d.Lookup(f.ctx, name)
		if name == "not utf-8" && err != nil && !errors.Is(err, directory.ErrNotFound) {
			continue // gRPC itself refuses it
		}
		unable(t, name, err)
	}
	unable(t, "nothing is right", d.VerifyPassword(f.ctx, "anything", nil))
	if err := d.VerifyPassword(f.ctx, "anything", []byte("x")); err != nil {
		t.Errorf("something is right: %v", err)
	}
	if _, err := d.Lookup(f.ctx, "\xff"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("a name that no wire carries: %v", err)
	}
	for _, name := range []string{"exit", "panic"} {
		unable(t, name, d.VerifyPassword(f.ctx, name, []byte("x")))
		f.wait()
	}
}

// TestG8Hook: a decision that is none decides nothing.
func TestG8Hook(t *testing.T) {
	f := run(t, pluginhost.KindHook, "hook", quick, nil).wait()
	h, err := f.Hook("p")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"long text", "many", "no name", "hang", "exit", "no-word"} {
		within(t, name, 2*deadline, func() {
			a, err := h.Check(f.ctx, sdk.SignIn{Account: name})
			unable(t, name, err)
			if a.Allow {
				t.Errorf("%s: allowed", name)
			}
		})
		f.wait()
	}
	if a, err := h.Check(f.ctx, sdk.SignIn{Account: "refused"}); err != nil || a.Allow || a.Text != "not at this hour" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := h.Check(f.ctx, sdk.SignIn{Account: "fine"}); err != nil || !a.Allow || len(a.Reply) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestSwap: another binary takes over without a failed call, and one that does
// not start leaves the old one in force.
func TestSwap(t *testing.T) {
	f := run(t, pluginhost.KindDirectory, "directory", quick, nil).wait()
	d := f.directory()
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := d.Lookup(f.ctx, "slow"); !errors.Is(err, directory.ErrNotFound) {
					t.Errorf("during a swap: %v", err)
					return
				}
			}
		})
	}
	events, err := d.(directory.Watcher).Watch(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := (<-events).Name
	for range 2 {
		pid := f.status().PID
		next := specOf(t, pluginhost.KindDirectory, "directory")
		if err := f.Set(f.ctx, []pluginhost.Spec{next}); err != nil {
			t.Fatal(err)
		}
		if s := f.status(); s.PID == pid || s.Restarts != 0 {
			t.Errorf("%+v", s)
		}
	}
	seen := map[string]bool{}
	for e := range events { // of the two that took over, one or both
		if e.Lost {
			t.Errorf("a swap loses nothing: %+v", e)
		}
		if e.Name != "" && e.Name != first {
			seen[e.Name] = true
		}
		if seen[strconv.Itoa(f.status().PID)] {
			break
		}
	}
	bad := specOf(t, pluginhost.KindDirectory, "exits")
	if err := f.Set(f.ctx, []pluginhost.Spec{bad}); err == nil {
		t.Error("a swap to what does not start is no error")
	}
	close(stop)
	callers.Wait()
	if s := f.status(); s.State != pluginhost.StateRunning || s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

// TestWatchGoesOn: a watch outlives the plugin: it says that it is lost, and
// reset when it goes on.
func TestWatchGoesOn(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	s := f.store()
	events, err := s.Watch(f.ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	kill(t, f.status().PID)
	if e := <-events; !e.Lost {
		t.Fatalf("first %+v", e)
	}
	if e := <-events; !e.Reset {
		t.Fatalf("then %+v", e)
	}
	if _, err := s.Apply(f.ctx, store.Batch{{Action: store.Put, Key: "k", Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Entry.Key != "k" {
		t.Fatalf("at last %+v", e)
	}
}

// TestSettings: what is configured is what the plugin gets, and a setting that
// it does not take is said.
func TestSettings(t *testing.T) {
	settings := map[string]any{"text": "a\"b", "number": int64(1) << 60, "fraction": 2.5, "flag": true, "list": []any{"a", int64(1)}}
	f := run(t, pluginhost.KindStore, "store", quick, func(s *pluginhost.Spec) { s.Settings = settings }).wait()
	e, err := f.store().Get(f.ctx, "settings")
	if want := fmt.Sprintf("%#v", sdk.Settings(settings)); err != nil || string(e.Value) != want {
		t.Errorf("%s, %v; want %s", e.Value, err, want)
	}
	f = run(t, pluginhost.KindStore, "store", pluginhost.Restart{First: time.Hour}, func(s *pluginhost.Spec) { s.Settings = map[string]any{"fault": "configure"} })
	s := f.until("waiting", func(s pluginhost.Status) bool { return s.State == pluginhost.StateWaiting })
	if !strings.Contains(s.LastError, "take it out") {
		t.Errorf("%q", s.LastError)
	}
	f = run(t, pluginhost.KindStore, "store", quick, func(s *pluginhost.Spec) { s.Settings = map[string]any{"fault": "problem"} }).wait()
	s = f.until("a problem", func(s pluginhost.Status) bool { return s.Problem == "the database is away" && !s.Up() })
	if s.ProblemSince.Before(s.Since) || strings.Count(f.log.String(), "the plugin has a problem") != 1 {
		t.Errorf("a problem since %s\n%s", s.ProblemSince, f.log)
	}
}

// TestNotifier: a notice that is not taken is tried again, and arrives whole.
func TestNotifier(t *testing.T) {
	into := filepath.Join(t.TempDir(), "notice")
	f := run(t, pluginhost.KindNotifier, "notifier", quick, func(s *pluginhost.Spec) { s.Settings = map[string]any{"into": into} }).wait()
	n, err := f.Notifier("p")
	if err != nil {
		t.Fatal(err)
	}
	if !n.Send(sdk.Notice{ID: "1", Kind: sdk.NoticeDeleted, Account: "alain", Text: "fails once"}) {
		t.Fatal("there is no room")
	}
	f.until("delivered", func(pluginhost.Status) bool {
		text, _ := os.ReadFile(into)
		return strings.Contains(string(text), "fails once")
	})
}
