package core_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// writeStore names the folder that TestWriteStore writes, such as "1": one for
// each format that was ever released. What is there is never written again.
const writeStore = "KEYWICKET_WRITE_STORE"

// stores is where the stores of released versions are kept.
var stores = filepath.Join("..", "testdata", "store")

// A kept is what is expected of a store of a released version.
type kept struct {
	Time     time.Time         // when it was written
	Texts    map[string]string // app passwords by name
	Reasons  map[string]string // what comes of each at radius/vpn1
	Methods  map[string]string // how each is presented; cleartext where it is missing
	OTPAuth  string
	Recovery string // a recovery code that was not used
}

// openKept opens a copy of the store in dir, on a clock that stands at k.Time.
func openKept(t *testing.T, dir string, k *kept) *fixture {
	t.Helper()
	disk, err := badgerstore.Open(filepath.Join(dir, "store"), badgerstore.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, disk.Close()) })
	return newFixture(t, func(f *fixture) { f.useKept(dir, disk, k) })
}

// useKept gives f the store and the keyring of dir.
func (f *fixture) useKept(dir string, disk store.Store, k *kept) {
	f.t.Helper()
	keys, err := keyring.ReadFile(filepath.Join(dir, "keyring"))
	must(f.t, err)
	f.now, f.keys, f.opt.Keyring = k.Time, keys, keys
	f.store = &faultyStore{Store: disk}
	f.opt.Store = f.store
	f.opt.Directory = local.New(f.store, keys, local.Options{Now: f.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	f.policy.Profiles["chap"] = core.Profile{Letters: 20, Services: []string{"radius/*"}, Methods: []proof.Method{proof.MethodCHAP}}
	f.policy.Profiles["lounge"] = core.Profile{Letters: 28, Services: []string{"radius/lounge"}, Methods: []proof.Method{proof.MethodCleartext}}
}

// TestStoresOfReleasedVersions: what an earlier version wrote is read by this
// one, and means the same.
func TestStoresOfReleasedVersions(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(stores, "*"))
	must(t, err)
	if len(dirs) == 0 {
		t.Fatalf("there is no store in %s", stores)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
			must(t, err)
			var k kept
			must(t, json.Unmarshal(text, &k))
			copied := t.TempDir()
			must(t, os.CopyFS(copied, os.DirFS(dir)))
			must(t, onlyOurs(copied)) // git keeps no modes
			f := openKept(t, copied, &k)
			for name, reason := range k.Reasons {
				wantReason(t, name, f.present(k, name), core.Reason(reason))
			}
			f.pass(time.Minute)
			must(t, f.CheckCode(f.ctx, alain, codeOf(t, k.OTPAuth, f.clock())))
			must(t, f.CheckCode(f.ctx, alain, k.Recovery))
			wantReason(t, "main password", f.try(mainPassword), core.ReasonMainPasswordRefused)
			attempts, err := f.Attempts(f.ctx, alain)
			must(t, err)
			if len(attempts) < len(k.Reasons)+1 {
				t.Errorf("%d attempts, want the one that was kept and %d more", len(attempts), len(k.Reasons))
			}
		})
	}
}

// present signs in with the app password called name.
func (f *fixture) present(k kept, name string) error {
	if k.Methods[name] == string(proof.MethodCHAP) {
		_, err := f.Verify(f.ctx, core.Attempt{Account: alain, Proof: trial{text: k.Texts[name]}, Service: "radius/vpn1"})
		return err
	}
	return f.try(k.Texts[name])
}

func onlyOurs(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		mode := fs.FileMode(0o600)
		if err == nil && e.IsDir() {
			mode = 0o700
		}
		if err != nil {
			return err
		}
		return os.Chmod(path, mode)
	})
}

// TestWriteStore writes the store of this version, before it is released.
func TestWriteStore(t *testing.T) {
	name := os.Getenv(writeStore)
	if name == "" {
		t.Skip("only where " + writeStore + " names the folder")
	}
	dir := filepath.Join(stores, name)
	must(t, os.MkdirAll(stores, 0o755))
	must(t, os.Mkdir(dir, 0o700))
	keys, err := keyring.New(time.Now())
	must(t, err)
	must(t, keys.WriteFile(filepath.Join(dir, "keyring")))
	k := &kept{
		Time: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Texts: map[string]string{},
		Methods: map[string]string{"switch": string(proof.MethodCHAP)},
		Reasons: map[string]string{"first": "", "old": "", "new": "", "gone": "deleted", "resting": "suspended", "console": "out-of-scope", "switch": ""},
	}
	t.Cleanup(func() { // after the store is closed: room that it makes anew at the next start
		for _, name := range []string{"BALLAST", "DISCARD"} {
			must(t, os.RemoveAll(filepath.Join(dir, "store", name)))
		}
	})
	f := openKept(t, dir, k)
	f.fill(k)
	rotated, err := f.keys.Rotate(f.clock())
	must(t, err)
	must(t, rotated.ReplaceFile(filepath.Join(dir, "keyring")))
	f.keys.Replace(rotated) // some records under each of two keys
	_, k.Texts["new"] = f.rotateOne("rotated", k)
	must(t, f.Flush(f.ctx))
	must(t, f.Close())
	text, err := json.MarshalIndent(k, "", "  ")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "expected.json"), append(text, '\n'), 0o600))
}

// fill makes one of everything.
func (f *fixture) fill(k *kept) {
	_, err := f.AddAccount(f.ctx, alain, []string{"staff"}, []byte(mainPassword))
	must(f.t, err)
	k.OTPAuth, err = f.Enroll(f.ctx, alain)
	must(f.t, err)
	c, err := f.Confirm(f.ctx, alain, codeOf(f.t, k.OTPAuth, f.clock()), core.NewAppPassword{})
	must(f.t, err)
	k.Texts["first"], k.Recovery = c.FirstText.Canonical(), c.Recovery[0]
	gone, text := f.create("gone", "")
	k.Texts["gone"] = text
	_, err = f.Delete(f.ctx, alain, gone.ID)
	must(f.t, err)
	resting, text := f.create("resting", "")
	k.Texts["resting"] = text
	_, err = f.Suspend(f.ctx, alain, resting.ID)
	must(f.t, err)
	_, k.Texts["console"] = f.create("console", "lounge")
	_, k.Texts["switch"] = f.create("switch", "chap")
	must(f.t, f.try(k.Texts["first"]))
	must(f.t, f.Flush(f.ctx))
}

// rotateOne makes an app password and gives it a new text; both work.
func (f *fixture) rotateOne(name string, k *kept) (old, fresh string) {
	made, text := f.create(name, "")
	k.Texts["old"] = text
	_, now, err := f.Rotate(f.ctx, alain, made.ID, core.MaxOverlap)
	must(f.t, err)
	return text, now.Canonical()
}
