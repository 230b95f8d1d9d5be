package core_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// TestOpenRefuses: a store that this engine cannot serve is refused with words
// that say what to do, and nothing of it is changed.
func TestOpenRefuses(t *testing.T) {
	meta := func(f *fixture, edit func(sealed []byte) []byte) {
		entry, err := f.store.Store.Get(f.ctx, record.KeyMeta)
		must(f.t, err)
		_, err = f.store.Store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: record.KeyMeta, Value: edit(entry.Value)}})
		must(f.t, err)
	}
	for name, tt := range map[string]struct {
		prepare func(f *fixture)
		want    core.Kind
		words   string
	}{
		"wrong keyring": {func(f *fixture) {
			keys, err := keyring.New(time.Now())
			must(f.t, err)
			f.opt.Keyring = keys
		}, core.KindInvalid, "not the one that this store was sealed with"},
		"newer format": {func(f *fixture) {
			meta(f, func([]byte) []byte {
				plain, err := proto.Marshal(&record.Meta{Format: record.Format + 1})
				must(f.t, err)
				return f.keys.Seal(record.KindMeta, record.KeyMeta, plain)
			})
		}, core.KindInvalid, "use a newer keywicket"},
		"newer envelope":    {func(f *fixture) { meta(f, func(b []byte) []byte { b[0]++; return b }) }, core.KindInvalid, "use a newer keywicket"},
		"flipped bit":       {func(f *fixture) { meta(f, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }) }, core.KindDamaged, "cannot be opened"},
		"cut":               {func(f *fixture) { meta(f, func(b []byte) []byte { return b[:10] }) }, core.KindDamaged, "cannot be opened"},
		"emptied":           {func(f *fixture) { meta(f, func([]byte) []byte { return nil }) }, core.KindDamaged, "cannot be opened"},
		"of another record": {func(f *fixture) { meta(f, func([]byte) []byte { return f.value("account/" + alain) }) }, core.KindDamaged, "cannot be opened"},
		"without its first record": {func(f *fixture) {
			_, err := f.store.Store.Apply(f.ctx, store.Batch{{Action: store.Delete, Key: record.KeyMeta}})
			must(f.t, err)
		}, core.KindInvalid, "not empty"},
		"store away":      {func(f *fixture) { f.store.fail(store.ErrUnavailable) }, core.KindUnavailable, ""},
		"store damaged":   {func(f *fixture) { f.store.fail(store.ErrDamaged) }, core.KindDamaged, ""},
		"no keyring":      {func(f *fixture) { f.opt.Keyring = nil }, core.KindInvalid, "required"},
		"a faulty policy": {func(f *fixture) { f.opt.Policy = &core.Policy{} }, core.KindInvalid, "limit is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.addAlain()
			must(t, f.Close())
			tt.prepare(f)
			before := fmt.Sprint(f.store.all(t))
			e, err := core.Open(f.ctx, f.opt)
			wantKind(t, "opening", err, tt.want)
			if e != nil || err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%v does not say %q", err, tt.words)
			}
			f.store.fail(nil)
			if after := fmt.Sprint(f.store.all(t)); after != before {
				t.Error("the store was changed")
			}
		})
	}
}

// TestOpenForeign: a store of another program is left alone.
func TestOpenForeign(t *testing.T) {
	f := newFixture(t, nil)
	must(t, f.Close())
	_, err := f.store.Store.Apply(f.ctx, store.Batch{
		{Action: store.Delete, Key: record.KeyMeta}, {Action: store.Put, Key: "wiki/page", Value: []byte("hello")},
	})
	must(t, err)
	before := fmt.Sprint(f.store.all(t))
	_, err = core.Open(f.ctx, f.opt)
	wantKind(t, "opening", err, core.KindInvalid)
	if err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("%v does not say what is wrong", err)
	}
	if after := fmt.Sprint(f.store.all(t)); after != before {
		t.Error("the store was changed")
	}
}

// value returns what is stored at key.
func (f *fixture) value(key string) []byte {
	f.t.Helper()
	entry, err := f.store.Store.Get(f.ctx, key)
	must(f.t, err)
	return entry.Value
}

// TestOpenTogether: of two nodes that open an empty store at once both do.
func TestOpenTogether(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		var once sync.Once
		f.store.intercept(func(store.Batch) { once.Do(func() { f.another() }) })
	})
	f.addAlain()

	// With another keyring it is the wrong one.
	newFixture(t, func(f *fixture) {
		other, err := keyring.New(time.Now())
		must(t, err)
		var once sync.Once
		f.store.intercept(func(store.Batch) {
			once.Do(func() {
				g := &fixture{t: t, ctx: f.ctx, store: &faultyStore{Store: f.store.Store}, keys: other, policy: f.policy, opt: f.opt}
				g.opt.Store, g.opt.Keyring = g.store, other
				g.open()
			})
		})
		_, err = core.Open(f.ctx, f.opt)
		wantKind(t, "with another keyring", err, core.KindInvalid)
		f.store.intercept(nil)
		f.keys, f.opt.Keyring = other, other
	})
}

// TestKeyRotation: what was made with an older key works on as long as the
// keyring has it, and what it seals does not without it.
func TestKeyRotation(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain()
	must(t, f.Close())
	keys, err := f.keys.Rotate(time.Now())
	must(t, err)
	f.useKeys(keys)
	must(t, f.try(text))
	_, second := f.create("laptop", "")
	must(t, f.try(text))
	must(t, f.try(second))
	f.reopen()
	must(t, f.try(text))
	must(t, f.try(second))
}

// useKeys opens the engine with other keys.
func (f *fixture) useKeys(keys *keyring.Keyring) {
	f.t.Helper()
	f.keys, f.opt.Keyring = keys, keys
	f.opt.Directory = local.New(f.store, keys, local.Options{Now: f.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	f.open()
}

// TestSetPolicy: a policy with a fault changes nothing, and what the caller
// does to its own copy later changes nothing either.
func TestSetPolicy(t *testing.T) {
	f := newFixture(t, nil)
	_, text := f.addAlain("staff")
	bad := core.DefaultPolicy()
	bad.Deny, bad.Limit = true, 0
	wantKind(t, "a faulty policy", f.SetPolicy(bad), core.KindInvalid)
	must(t, f.try(text))
	f.policy.Deny = true
	f.policy.Profiles[core.DefaultProfile].Services[0] = "pam/sshd"
	f.policy.Profiles[core.DefaultProfile] = core.Profile{Deny: true}
	must(t, f.try(text))
	good := core.DefaultPolicy()
	good.DenyGroups = []string{"guests"}
	must(t, f.SetPolicy(good))
	good.DenyGroups[0] = "staff"
	must(t, f.try(text))
}

// TestErrorsAreErrors: what leaves the package is an *Error, also for a caller
// that has left.
func TestErrorsAreErrors(t *testing.T) {
	f := newFixture(t, nil)
	f.addAlain()
	_, err := f.List(ended(f), alain)
	wantKind(t, "list", err, core.KindUnavailable)
	_, _, err = f.Create(ended(f), alain, core.NewAppPassword{Name: "x"})
	wantKind(t, "create", err, core.KindUnavailable)
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v has lost its cause", err)
	}
}
