package backup_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/backup"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// steps are the steps of a restore that replaces a store, in their order.
func steps() []string {
	return []string{"tried", "marked", "filled", "built", "recorded", "unmarked", "exchanged", "kept"}
}

// A halfway is a site whose store has gone on since its backup, stopped.
type halfway struct {
	*site
	path string
	old  map[string]string // contents
}

func newHalfway(t testing.TB) *halfway {
	t.Helper()
	s := newSite(t)
	o := s.enroll("alain@contoso.com", "Printer")
	s.enroll("beate@contoso.com")
	must(t, s.keys.WriteFile(filepath.Join(s.dir, "keyring")))
	h := &halfway{site: s, path: s.backup("backup", "")}
	s.tick()
	_, err := s.engine.Delete(t.Context(), o.name, "Printer")
	must(t, err)
	s.create(o, "later", "")
	s.stop()
	h.old = h.state()
	return h
}

// state is what the store in its place has, which must be a whole one.
func (h *halfway) state() map[string]string {
	h.t.Helper()
	st, err := badgerstore.Open(h.storeDir(), badgerstore.Options{})
	must(h.t, err)
	defer st.Close()
	return h.contents(st)
}

// isWhole demands that the store in its place is the old one or a new one.
func (h *halfway) isWhole(when string) (isNew bool) {
	h.t.Helper()
	got := h.state()
	if maps.Equal(got, h.old) {
		return false
	}
	for key, value := range h.old {
		changed := strings.HasPrefix(key, "account/alain") || strings.HasPrefix(key, "meta/") || strings.HasPrefix(key, "activity/")
		if got[key] == "" || got[key] != value && !changed {
			h.t.Errorf("%s: the new store lacks %q", when, key)
		}
	}
	if got["fact/restored"] == "" || got["fact/restored/from"] == "" || len(got) != len(h.old)+2 {
		h.t.Errorf("%s: the store is neither the old nor the new one", when)
	}
	return true
}

// again demands that the next restore succeeds and leaves nothing behind.
func (h *halfway) again(when string) {
	h.t.Helper()
	h.pass(time.Second)
	if _, err := runRestore(context.Background(), h.options(h.path), false); err != nil {
		h.t.Fatalf("%s: the next restore: %v", when, err)
	}
	if !h.isWhole(when) {
		h.t.Errorf("%s: the next restore restored nothing", when)
	}
	if l := h.listing(); strings.Contains(l, "store.restoring") {
		h.t.Errorf("%s: it left %s", when, l)
	}
}

// After a failure at any step the store is the old or the new one, and what
// else there was made is gone or has a name that is kept.
func TestFailureAtEachStep(t *testing.T) {
	for i, step := range steps() {
		h := newHalfway(t)
		before := h.listing()
		fault := errors.New("planted")
		opt := h.options(h.path).WithStep(func(name string) error {
			if name == step {
				return fault
			}
			return nil
		})
		if _, err := runRestore(t.Context(), opt, false); !errors.Is(err, fault) {
			t.Fatalf("after %s: %v", step, err)
		}
		isNew := h.isWhole(step)
		if want := i >= len(steps())-2; isNew != want {
			t.Errorf("after %s: the new store is there: %v", step, isNew)
		}
		if after := h.listing(); !isNew && after != before {
			t.Errorf("after %s: %s is %s now", step, before, after)
		}
		h.again(step)
	}
}

// TestHelperRestore is no test: it is the process that others kill.
func TestHelperRestore(t *testing.T) {
	dir, at := os.Getenv("KEYWICKET_TEST_RESTORE"), os.Getenv("KEYWICKET_TEST_STEP")
	if dir == "" {
		t.Skip("other tests start it")
	}
	keys, err := keyring.ReadFile(filepath.Join(dir, "keyring"))
	must(t, err)
	s := &site{t: t, dir: dir, keys: keys, now: time.Now()}
	fmt.Println("begun")
	_, err = runRestore(t.Context(), s.options(filepath.Join(dir, "backup")).WithStep(func(name string) error {
		switch {
		case at == "fill the disk" && name == "marked":
			return fillDisk(dir)
		case name == at:
			return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), errors.New("still alive"))
		}
		return nil
	}), false)
	must(t, err)
}

func fillDisk(dir string) error {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	for piece := make([]byte, 1<<20); ; {
		if _, err := f.Write(piece); err != nil {
			return f.Close() // full
		}
	}
}

// killed runs the helper, and kills it after a while if that is not 0.
func (h *halfway) killed(step string, after time.Duration) {
	h.t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestHelperRestore$", "-test.v")
	c.Env = append(os.Environ(), "KEYWICKET_TEST_RESTORE="+h.dir, "KEYWICKET_TEST_STEP="+step)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	must(h.t, err)
	must(h.t, c.Start())
	if after > 0 {
		buf := make([]byte, 512)
		for seen := ""; !strings.Contains(seen, "begun"); {
			n, err := out.Read(buf)
			must(h.t, err)
			seen += string(buf[:n])
		}
		time.Sleep(after)
		_ = c.Process.Kill() // it may have ended
	}
	_ = c.Wait() // killed, or done
}

func TestKillAtEachStep(t *testing.T) {
	for i, step := range steps() {
		h := newHalfway(t)
		h.killed(step, 0)
		if isNew := h.isWhole(step); isNew != (i >= len(steps())-2) {
			t.Errorf("killed after %s: the new store is there: %v", step, isNew)
		}
		h.again(step)
		// What was whole is kept, what was not is gone.
		want := step == "unmarked" || step == "exchanged"
		if l := h.listing(); strings.Contains(l, "interrupted") != want {
			t.Errorf("killed after %s, and restored again: %s", step, l)
		}
	}
}

func TestKillAtRandom(t *testing.T) {
	h := newHalfway(t)
	const tries = 24
	inside := 0 // kills that a restore did not outlive
	for range tries {
		after := time.Duration(1+rand.IntN(150)) * time.Millisecond
		h.killed("", after)
		h.isWhole(after.String())
		if strings.Contains(h.listing(), "store.restoring") {
			inside++
		}
	}
	t.Logf("%d of %d kills were in the middle", inside, tries)
	h.again("in the end")
}

func TestNothingToReplace(t *testing.T) {
	for name, prepare := range map[string]func(h *halfway){
		"no store":    func(h *halfway) { must(t, os.RemoveAll(h.storeDir())) },
		"empty store": func(h *halfway) { must(t, os.RemoveAll(h.storeDir())); must(t, os.Mkdir(h.storeDir(), 0o700)) },
	} {
		h := newHalfway(t)
		prepare(h)
		report, err := runRestore(t.Context(), h.options(h.path), false)
		if err != nil || report.Kept != "" || report.Untold == "" {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
		if l := h.listing(); strings.Contains(l, "restoring") || strings.Contains(l, "replaced") {
			t.Errorf("%s: %s", name, l)
		}
		h.start()
		h.stop()
	}
	h := newHalfway(t)
	must(t, os.RemoveAll(h.storeDir()))
	opt := h.options(h.path).WithStep(func(name string) error {
		if name == "unmarked" { // a daemon is started meanwhile
			h.start()
		}
		return nil
	})
	if _, err := runRestore(t.Context(), opt, false); !errors.Is(err, backup.ErrBusy) {
		t.Errorf("a daemon was started meanwhile: %v", err)
	}
}

func TestBusy(t *testing.T) {
	h := newHalfway(t)
	st, err := badgerstore.Open(h.storeDir(), badgerstore.Options{})
	must(t, err)
	before := h.listing()
	_, err = runRestore(t.Context(), h.options(h.path), false)
	if !errors.Is(err, backup.ErrBusy) || !strings.Contains(err.Error(), "stop the daemon") {
		t.Errorf("%v", err)
	}
	must(t, st.Close())
	// One that is damaged may be in use too.
	manifest := filepath.Join(h.storeDir(), "MANIFEST")
	must(t, os.Rename(manifest, manifest+"x"))
	lock, err := badgerstore.Lock(h.storeDir())
	must(t, err)
	if _, err = runRestore(t.Context(), h.options(h.path), false); !errors.Is(err, backup.ErrBusy) {
		t.Errorf("%v", err)
	}
	must(t, lock.Close())
	must(t, os.Rename(manifest+"x", manifest))
	if after := h.listing(); after != before {
		t.Errorf("%s is %s now", before, after)
	}
	// Two at a time.
	opt := h.options(h.path).WithStep(func(name string) error {
		if name != "filled" {
			return nil
		}
		_, err := runRestore(t.Context(), h.options(h.path), false)
		if err == nil {
			return errors.New("a second one ran")
		}
		return nil
	})
	_, err = runRestore(t.Context(), opt, false)
	must(t, err)
	h.isWhole("two at a time")
}

func TestUnwritable(t *testing.T) {
	h := newHalfway(t)
	for name, dir := range map[string]string{"not there": h.dir + "/nothing", "a file": h.path} {
		opt := h.options(h.path)
		opt.DataDir = dir
		if _, err := runRestore(t.Context(), opt, false); err == nil || !strings.Contains(err.Error(), "data_dir") {
			t.Errorf("%s: %v", name, err)
		}
	}
	opt := h.options(h.path)
	fault := errors.New("planted")
	opt.Record = func(backup.Report) error { return fault }
	before := h.listing()
	if _, err := runRestore(t.Context(), opt, false); !errors.Is(err, fault) || !strings.Contains(err.Error(), "nothing was restored") {
		t.Errorf("the audit cannot be written: %v", err)
	}
	if h.isWhole("no audit") || h.listing() != before {
		t.Errorf("the audit cannot be written: %s is %s now", before, h.listing())
	}
	ctx, cancel := context.WithCancel(t.Context())
	opt = h.options(h.path).WithStep(func(string) error { cancel(); return nil })
	if _, err := runRestore(ctx, opt, false); !errors.Is(err, context.Canceled) && !errors.Is(err, store.ErrUnavailable) || h.isWhole("cancelled") {
		t.Errorf("cancelled: %v", err)
	}
}

// mounted moves a halfway to a disk of its own of some MiB.
func (h *halfway) mounted(mib int) {
	h.t.Helper()
	if os.Geteuid() != 0 {
		h.t.Skip("only root can mount a small disk")
	}
	to := h.t.TempDir()
	if err := unix.Mount("tmpfs", to, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mib)); err != nil {
		h.t.Skipf("a small disk cannot be mounted: %v", err)
	}
	h.t.Cleanup(func() { must(h.t, unix.Unmount(to, unix.MNT_DETACH)) })
	must(h.t, os.CopyFS(to, os.DirFS(h.dir)))
	must(h.t, os.Chmod(filepath.Join(to, "keyring"), 0o600))
	h.dir, h.path = to, filepath.Join(to, "backup")
}

func TestFullDisk(t *testing.T) {
	h := newHalfway(t)
	h.mounted(300)
	filler := filepath.Join(h.dir, "filler")
	must(t, os.WriteFile(filler, make([]byte, 200<<20), 0o600))
	before := h.listing()
	if _, err := runRestore(t.Context(), h.options(h.path), false); err == nil || !strings.Contains(err.Error(), "MiB free") {
		t.Errorf("too small a disk: %v", err)
	}
	if after := h.listing(); after != before {
		t.Errorf("%s is %s now", before, after)
	}
	must(t, os.Remove(filler))
	h.killed("fill the disk", 0)
	must(t, os.Remove(filler))
	if h.isWhole("full disk") {
		t.Error("a restore on a full disk succeeded")
	}
	h.again("full disk")
}

func TestReadOnlyDisk(t *testing.T) {
	h := newHalfway(t)
	h.mounted(300)
	remount := func(flags uintptr) {
		must(t, unix.Mount("tmpfs", h.dir, "", unix.MS_REMOUNT|flags, ""))
	}
	remount(unix.MS_RDONLY)
	_, err := runRestore(t.Context(), h.options(h.path), false)
	remount(0)
	if err == nil || h.isWhole("read-only") {
		t.Errorf("a read-only disk: %v", err)
	}
}

// What restore tells afterwards, to the daemon (S5).
func TestRestored(t *testing.T) {
	s := newSite(t)
	s.enroll("alain@contoso.com")
	if _, _, ok, err := backup.Restored(t.Context(), s.store, s.keys); ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	made := s.now
	path := s.backup("backup", "")
	s.tick()
	for range 2 { // the second over the first
		s.restore(false, path)
		at, from, ok, err := backup.Restored(t.Context(), s.store, s.keys)
		if err != nil || !ok || !from.Equal(made) || s.now.Sub(at) != time.Minute {
			t.Errorf("restored at %v from %v: %v, %v", at, from, ok, err)
		}
	}
}

// A record that is damaged stops a restore, unless it is left out; then its
// account has nothing and is nobody.
func TestLeaveOut(t *testing.T) {
	s := newSite(t)
	alain, beate := s.enroll("alain@contoso.com"), s.enroll("beate@contoso.com")
	s.tick()
	key := "account/alain@contoso.com"
	e, err := s.store.Get(t.Context(), key)
	must(t, err)
	e.Value[len(e.Value)-1] ^= 1
	_, err = s.store.Apply(t.Context(), store.Batch{{Action: store.Put, Key: key, Value: e.Value}})
	must(t, err)
	path := s.backup("backup", "")
	s.refused("damaged record", backup.ErrRecord, path)
	s.stop()
	s.tick()
	must(t, os.RemoveAll(s.storeDir()))
	opt := s.options(path)
	opt.LeaveOut = true
	report, err := runRestore(t.Context(), opt, false)
	if err != nil || len(report.Damaged) != 1 || report.Damaged[0] != key {
		t.Fatalf("%+v, %v", report, err)
	}
	s.start()
	s.expect(alain, "first", core.ReasonUnknownAccount)
	s.expect(beate, "first", "")
}
