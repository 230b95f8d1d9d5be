package core_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// putRaw writes value behind the engine's back, and returns what was there.
func (f *fixture) putRaw(key string, value []byte) (before []byte) {
	f.t.Helper()
	before = f.value(key)
	_, err := f.store.Store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: key, Value: value}})
	must(f.t, err)
	return before
}

// waitReason tries text until the engine has heard of the change.
func (f *fixture) waitReason(what, text string, want core.Reason) {
	f.t.Helper()
	var err error
	for range 500 {
		var e *core.Error
		if err = f.try(text); errors.As(err, &e) && e.Reason == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.t.Errorf("%s: %v, want %s", what, err, want)
}

// reopenAll is reopen, and nothing is left of what the directory had read.
func (f *fixture) reopenAll() {
	f.t.Helper()
	f.opt.Directory = local.New(f.store, f.keys, local.Options{Now: f.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	f.reopen()
}

// TestS3SwappedRecords: a sealed value under another key, or of another kind,
// is no record there.
func TestS3SwappedRecords(t *testing.T) {
	const barbara = "barbara@contoso.com"
	f := newFixture(t, nil)
	_, text := f.addAlain()
	must(t, f.try(text))
	must(t, f.Flush(f.ctx))
	_, err := f.AddAccount(f.ctx, barbara, nil, []byte(mainPassword))
	must(t, err)
	uri, err := f.Enroll(f.ctx, barbara)
	must(t, err)
	_, err = f.Confirm(f.ctx, barbara, codeOf(t, uri, f.clock()), core.NewAppPassword{})
	must(t, err)
	for name, other := range map[string]string{
		"account of another": "account/" + barbara, "history in its place": "activity/" + alain, "directory's in its place": "local/" + alain,
	} {
		right := f.putRaw("account/"+alain, f.value(other))
		f.waitReason(name, text, core.ReasonTamper)
		f.putRaw("account/"+alain, right)
		f.reopenAll()
		if err := f.try(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		right = f.putRaw("local/"+alain, f.value(other))
		if other != "local/"+alain {
			f.reopenAll()
			wantReason(t, name+", in the directory", f.try(text), core.ReasonTamper)
		}
		f.putRaw("local/"+alain, right)
		f.reopenAll()
	}
	if len(f.recorded(core.EventTamper)) == 0 {
		t.Error("nothing in the audit tells of it")
	}
}

// TestS2AccountsOfOneText: each account has an id of its own, which its tags are made
// with. So the same text has another tag for each, and to try a guess at all of
// them takes one tag for each.
func TestS2AccountsOfOneText(t *testing.T) {
	f := newFixture(t, nil)
	ids := make(map[string]bool)
	for _, name := range []string{alain, "barbara@contoso.com", "charles@contoso.com"} {
		_, err := f.AddAccount(f.ctx, name, nil, nil)
		must(t, err)
		_, err = f.Enroll(f.ctx, name)
		must(t, err)
		plain, err := f.keys.Open(record.KindAccount, record.PrefixAccount+name, f.value(record.PrefixAccount+name))
		must(t, err)
		var rec record.Account
		must(t, proto.Unmarshal(plain, &rec))
		ids[string(rec.Id)] = true
		if len(rec.Id) != 16 || ids[string(make([]byte, 16))] {
			t.Errorf("%s has the id %x", name, rec.Id)
		}
	}
	if len(ids) != 3 {
		t.Errorf("3 accounts have the ids %x", slices.Collect(maps.Keys(ids)))
	}
}

// TestS4OlderCopyOfARecord: a record that was put back while the engine knows a
// later one does not bring back what was deleted, suspended or turned off, and
// the absence of one is not believed either.
func TestS4OlderCopyOfARecord(t *testing.T) {
	for name, take := range map[string]func(f *fixture, id string) error{
		"deleted":      func(f *fixture, id string) error { _, err := f.Delete(f.ctx, alain, id); return err },
		"suspended":    func(f *fixture, id string) error { _, err := f.Suspend(f.ctx, alain, id); return err },
		"two-step off": func(f *fixture, _ string) error { return f.TurnOffTwoStep(f.ctx, alain) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			made, text := f.addAlain()
			d := f.opt.Directory.(*local.Directory)
			f.opt.Directory = struct {
				directory.Directory
				directory.Editor
			}{d, d} // it does not watch, whose news would empty the cache late
			f.reopen()
			for n := 0; n == 0; n = f.Stats().CachedAccounts { // the news of what was written comes in between
				must(t, f.try(text))
			}
			before := f.value("account/" + alain)
			must(t, take(f, made.ID))
			if f.try(text) == nil {
				t.Fatal("it works")
			}
			after := f.putRaw("account/"+alain, before)
			f.waitReason("the older copy", text, core.ReasonTamper)
			if _, _, err := f.Create(f.ctx, alain, core.NewAppPassword{Name: "another"}); core.KindOf(err) != core.KindDamaged {
				t.Errorf("create on the older copy: %v, want %v", err, core.KindDamaged)
			}
			_, err := f.store.Store.Apply(f.ctx, store.Batch{{Action: store.Delete, Key: "account/" + alain}})
			must(t, err)
			f.waitReason("no record", text, core.ReasonTamper)
			_, err = f.store.Store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: "account/" + alain, Value: before}})
			must(t, err)
			must(t, f.DeleteAccount(f.ctx, alain)) // what is damaged can be deleted
			f.waitReason("after the account was deleted", text, core.ReasonUnknownAccount)
			f.putRaw("account/"+alain, after)
			f.addAlain()
			if f.try(text) == nil {
				t.Error("a record of the deleted account gives access to the new one")
			}
		})
	}
}

// TestS9FlippedStore: whichever octet of a store is flipped, the store refuses
// to start with a reason, or every app password has the answer that it had, or
// the record is said to be damaged. FLIPS=all takes every octet, which takes
// some minutes; else it is some hundred all over the files.
func TestS9FlippedStore(t *testing.T) {
	dir := filepath.Join(stores, "1")
	text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	must(t, err)
	var k kept
	must(t, json.Unmarshal(text, &k))
	files, err := os.ReadDir(filepath.Join(dir, "store"))
	must(t, err)
	step := 97 // no multiple of a length within the files
	if os.Getenv("FLIPS") == "all" {
		step = 1
	}
	flips, refused, damaged := 0, 0, 0
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(dir, "store", file.Name()))
		must(t, err)
		for at := 0; at < len(data); at += min(step, max(1, len(data)/20)) {
			flips++
			t.Run(file.Name()+"/"+strconv.Itoa(at), func(t *testing.T) {
				copied := t.TempDir()
				must(t, os.CopyFS(copied, os.DirFS(dir)))
				must(t, onlyOurs(copied))
				flipped := slices.Clone(data)
				flipped[at] ^= 1 << (at % 8)
				must(t, os.WriteFile(filepath.Join(copied, "store", file.Name()), flipped, 0o600))
				disk, err := badgerstore.Open(filepath.Join(copied, "store"), badgerstore.Options{MinFree: -1})
				if err != nil {
					refused++
					if !errors.Is(err, store.ErrDamaged) {
						t.Errorf("the store does not open: %v", err)
					}
					return
				}
				defer disk.Close()
				damaged += presentAll(t, copied, disk, &k)
			})
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	t.Logf("%d flips: %d stores refused to open, %d answers were of damage", flips, refused, damaged)
	if flips < 200 || refused < flips/2 {
		t.Errorf("%d of %d stores were refused", refused, flips)
	}
}

// presentAll opens an engine over disk and presents every app password. It
// returns how often the answer was that something is damaged.
func presentAll(t *testing.T, dir string, disk store.Store, k *kept) (damaged int) {
	f := &fixture{t: t, ctx: t.Context(), policy: core.DefaultPolicy()}
	f.opt = core.Options{Recorder: f, Now: f.clock, Flush: time.Hour, Policy: &f.policy}
	f.useKept(dir, disk, k)
	e, err := core.Open(f.ctx, f.opt)
	if err != nil {
		if kind := core.KindOf(err); kind != core.KindDamaged {
			t.Errorf("the engine does not open: %v, of kind %v", err, kind)
		}
		return 1
	}
	defer e.Close()
	f.Engine = e
	for name, reason := range k.Reasons {
		err := f.present(*k, name)
		if core.KindOf(err) == core.KindDamaged {
			damaged++
			continue
		}
		wantReason(t, name, err, core.Reason(reason))
	}
	return damaged
}
