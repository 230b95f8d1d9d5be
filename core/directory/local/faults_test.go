package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// verdict returns the error of the contract that err wraps, or nil.
func verdict(err error) error {
	for _, v := range []error{directory.ErrNotFound, directory.ErrDenied, directory.ErrConflict, directory.ErrInvalid, directory.ErrUnavailable} {
		if errors.Is(err, v) {
			return v
		}
	}
	return nil
}

// calls are all the ways to ask for an account.
func calls(ctx context.Context, d *Directory) map[string]error {
	_, lookup := d.Lookup(ctx, name)
	_, list := d.List(ctx, "", 10)
	return map[string]error{
		"Lookup": lookup, "List": list,
		"VerifyPassword": d.VerifyPassword(ctx, name, []byte(password)),
		"Recognize":      d.Recognize(ctx, name, []byte(password)),
		"SetEnabled":     d.SetEnabled(ctx, name, false),
		"SetPassword":    d.SetPassword(ctx, name, []byte("other")),
	}
}

// TestDamagedIsNoAnswer: a record that was changed, swapped or cannot be opened
// is neither "no such account" nor "wrong password".
func TestDamagedIsNoAnswer(t *testing.T) {
	const key = record.PrefixLocal + name
	k, foreign := ring(t), ring(t)
	seal := func(k *keyring.Keyring, kind, key string, rec *record.Local) []byte {
		plain, err := proto.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		return k.Seal(kind, key, plain)
	}
	good := func() *record.Local {
		return &record.Local{Id: make([]byte, idSize), Enabled: true, Password: phc{quick, make([]byte, saltSize), make([]byte, hashSize)}.String()}
	}
	short := good()
	short.Id = short.Id[:8]
	flipped := seal(k, record.KindLocal, key, good())
	flipped[len(flipped)-1] ^= 1
	newer := bytes.Clone(flipped)
	newer[0]++
	for what, tt := range map[string]struct {
		value []byte
		want  []error
	}{
		"a bit changed":         {flipped, []error{store.ErrDamaged, keyring.ErrTampered}},
		"another account's":     {seal(k, record.KindLocal, record.PrefixLocal+"bea", good()), []error{store.ErrDamaged, keyring.ErrTampered}},
		"another kind":          {seal(k, record.KindAccount, key, good()), []error{store.ErrDamaged, keyring.ErrTampered}},
		"empty":                 {nil, []error{store.ErrDamaged, keyring.ErrTampered}},
		"another keyring's":     {seal(foreign, record.KindLocal, key, good()), []error{keyring.ErrUnknownKey}},
		"newer":                 {newer, []error{keyring.ErrVersion}},
		"sealed, but no record": {k.Seal(record.KindLocal, key, []byte("\xff\xff")), []error{store.ErrDamaged}},
		"short id":              {seal(k, record.KindLocal, key, short), []error{store.ErrDamaged}},
	} {
		s := memstore.New()
		if _, err := s.Apply(t.Context(), store.Batch{{Action: store.Put, Key: key, Value: tt.value}}); err != nil {
			t.Fatal(err)
		}
		d := New(s, k, Options{Cost: quick})
		for call, err := range calls(t.Context(), d) {
			for _, want := range tt.want {
				if !errors.Is(err, want) || verdict(err) != nil {
					t.Errorf("%s: %s: %v, want %v", what, call, err, want)
				}
			}
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %s does not name the account: %v", what, call, err)
			}
		}
		if a, ok := d.AtHand(name); ok {
			t.Errorf("%s: at hand is %+v", what, a)
		}
		if _, err := d.Add(t.Context(), name, nil, nil); !errors.Is(err, directory.ErrConflict) {
			t.Errorf("%s: Add over it: %v", what, err)
		}
		if err := d.Remove(t.Context(), name); err != nil {
			t.Errorf("%s: Remove: %v", what, err)
		}
	}
}

func TestDamagedPasswordIsNoAnswer(t *testing.T) {
	s := memstore.New()
	d := open(t, s, Options{})
	for _, bad := range []string{"x", "$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if err := d.change(t.Context(), name, func(rec *record.Local) { rec.Password = bad }); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{d.VerifyPassword(t.Context(), name, []byte(password)), d.Recognize(t.Context(), name, []byte(password))} {
			if !errors.Is(err, store.ErrDamaged) || verdict(err) != nil {
				t.Errorf("PHC string %q: %v", bad, err)
			}
		}
	}
}

// faulty is a store that fails as it is told.
type faulty struct {
	store.Store
	err       error // of every method
	conflicts int   // so many Applies are refused
	applies   int
	meanwhile func() // called once, before the next Apply
}

func (f *faulty) Get(ctx context.Context, key string) (store.Entry, error) {
	if f.err != nil {
		return store.Entry{}, f.err
	}
	return f.Store.Get(ctx, key)
}

func (f *faulty) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.Store.Scan(ctx, prefix, after, limit)
}

func (f *faulty) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	f.applies++
	if do := f.meanwhile; do != nil {
		f.meanwhile = nil
		do()
	}
	if f.err != nil {
		return 0, f.err
	}
	if f.conflicts--; f.conflicts >= 0 {
		return 0, store.ErrConflict
	}
	return f.Store.Apply(ctx, b)
}

func (f *faulty) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.Store.Watch(ctx, prefix)
}

func TestStoreErrors(t *testing.T) {
	f := &faulty{Store: memstore.New()}
	d := open(t, f, Options{})
	for _, tt := range []struct{ err, want error }{
		{fmt.Errorf("gone: %w", store.ErrUnavailable), directory.ErrUnavailable},
		{fmt.Errorf("%w: %w", store.ErrUnavailable, store.ErrNotFound), directory.ErrUnavailable},
		{context.Canceled, directory.ErrUnavailable},
		{context.DeadlineExceeded, directory.ErrUnavailable},
		{fmt.Errorf("block 7: %w", store.ErrDamaged), nil},
		{store.ErrInvalid, nil},
		{errors.New("disk on fire"), nil},
	} {
		f.err = tt.err
		all := calls(t.Context(), d)
		_, all["Watch"] = d.Watch(t.Context())
		_, all["Add"] = d.Add(t.Context(), "new", nil, nil)
		all["Remove"] = d.Remove(t.Context(), name)
		for call, err := range all {
			if !errors.Is(err, tt.err) || verdict(err) != tt.want {
				t.Errorf("store says %q: %s says %v, want %v", tt.err, call, err, tt.want)
			}
		}
	}
}

func TestConflictsAreTriedAgain(t *testing.T) {
	for conflicts, want := range map[int]error{0: nil, 1: nil, maxTries - 1: nil, maxTries: directory.ErrConflict} {
		for what, do := range map[string]func(*Directory) error{
			"SetEnabled":  func(d *Directory) error { return d.SetEnabled(t.Context(), name, false) },
			"SetPassword": func(d *Directory) error { return d.SetPassword(t.Context(), name, []byte("other")) },
			"Remove":      func(d *Directory) error { return d.Remove(t.Context(), name) },
		} {
			f := &faulty{Store: memstore.New()}
			d := open(t, f, Options{})
			f.applies, f.conflicts = 0, conflicts
			if err := do(d); verdict(err) != want || (err == nil) != (want == nil) {
				t.Errorf("%d conflicts: %s: %v", conflicts, what, err)
			}
			if wantApplies := min(conflicts+1, maxTries); f.applies != wantApplies {
				t.Errorf("%d conflicts: %s: %d Applies, want %d", conflicts, what, f.applies, wantApplies)
			}
		}
	}
}

// TestNobodyIsOverwritten: another process changes the account between our
// reading and our writing.
func TestNobodyIsOverwritten(t *testing.T) {
	f := &faulty{Store: memstore.New()}
	d := open(t, f, Options{})
	other := New(f.Store, d.keys, Options{Cost: quick})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}

	f.meanwhile = func() { must(other.SetEnabled(t.Context(), name, false)) }
	must(d.SetPassword(t.Context(), name, []byte("other")))
	must(d.Recognize(t.Context(), name, []byte("other")))
	if a, err := d.Lookup(t.Context(), name); err != nil || a.Enabled {
		t.Errorf("enabled again by a new password: %v", err)
	}

	f.meanwhile = func() { must(other.Remove(t.Context(), name)) }
	if err := d.SetEnabled(t.Context(), name, true); verdict(err) != directory.ErrNotFound {
		t.Errorf("enabled after it was removed: %v", err)
	}
	_, err := other.Add(t.Context(), name, nil, nil)
	must(err)
	f.meanwhile = func() { must(other.Remove(t.Context(), name)) }
	if err := d.Remove(t.Context(), name); verdict(err) != directory.ErrNotFound {
		t.Errorf("removed after it was removed: %v", err)
	}
}
