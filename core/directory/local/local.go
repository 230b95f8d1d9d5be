package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

var (
	_ directory.Directory  = (*Directory)(nil)
	_ directory.Recognizer = (*Directory)(nil)
	_ directory.Watcher    = (*Directory)(nil)
	_ directory.Editor     = (*Directory)(nil)
	_ directory.Nearby     = (*Directory)(nil)
)

// Options are what a Directory can be told. The zero Options are good.
type Options struct {
	Now  func() time.Time // nil: time.Now
	Rand io.Reader        // of ids and salts; nil: crypto/rand.Reader

	// Cost of a main password that is set from now on; one that was set
	// before keeps its own. Zero fields have the values of DefaultCost, and
	// too large ones those of the largest that is read back.
	Cost Cost

	// MaxConcurrent is how many main passwords are hashed at once, each with
	// the memory of its Cost; the others wait. 0: half of the processors, so
	// that guesses cannot starve app passwords.
	MaxConcurrent int
}

// A Directory keeps accounts in a store. Use New.
type Directory struct {
	store store.Store
	keys  *keyring.Keyring
	now   func() time.Time
	rand  io.Reader
	cost  Cost
	rooms record.Rooms
	slots chan struct{} // one is held while a main password is hashed
}

// New returns a directory over s, which it does not close, sealed with k.
func New(s store.Store, k *keyring.Keyring, opts Options) *Directory {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	if opts.MaxConcurrent < 1 {
		opts.MaxConcurrent = max(1, runtime.NumCPU()/2)
	}
	return &Directory{
		store: s, keys: k, now: opts.Now, rand: opts.Rand,
		cost: opts.Cost.withDefaults(), slots: make(chan struct{}, opts.MaxConcurrent),
	}
}

// Lookup implements directory.Directory.
func (d *Directory) Lookup(ctx context.Context, name string) (directory.Account, error) {
	rec, _, err := d.read(ctx, name)
	if err != nil {
		return directory.Account{}, err
	}
	return account(name, rec), nil
}

// AtHand implements directory.Nearby, where the store has its record at hand.
func (d *Directory) AtHand(name string) (a directory.Account, ok bool) {
	near, ok := d.store.(store.Nearby)
	if !ok || checkName(name) != nil {
		return a, false
	}
	r := d.rooms.Enter()
	defer d.rooms.Leave(r)
	e := store.Entry{Key: record.PrefixLocal + name}
	if r.Sealed, _, ok = near.AtHand(r.Sealed[:0], e.Key); !ok {
		return a, false
	}
	e.Value = r.Sealed
	rec, err := d.openIn(r, e)
	if err != nil {
		return a, false
	}
	return account(name, rec), true
}

// VerifyPassword implements directory.Directory. It takes as long for an
// account that does not exist or has no password as for a wrong password of
// DefaultCost, and waits for a slot until ctx ends.
func (d *Directory) VerifyPassword(ctx context.Context, name string, password []byte) error {
	rec, err := d.recognize(ctx, name, password)
	if err != nil {
		return err
	}
	if !rec.GetEnabled() {
		return fmt.Errorf("%w: the account is disabled", directory.ErrDenied)
	}
	return nil
}

// Recognize implements directory.Recognizer. It costs as much as
// VerifyPassword.
func (d *Directory) Recognize(ctx context.Context, name string, password []byte) error {
	_, err := d.recognize(ctx, name, password)
	return err
}

// recognize returns the record of name if password is its main password.
func (d *Directory) recognize(ctx context.Context, name string, password []byte) (*record.Local, error) {
	rec, _, err := d.read(ctx, name)
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		return nil, err
	}
	kept := rec.GetPassword() // "" too if there is no record
	usable := kept != "" && checkLength(password) == nil
	h := d.dummy()
	if usable {
		if h, err = parsePHC(kept); err != nil {
			return nil, fmt.Errorf("main password of local account %q: %w", name, err)
		}
	} else {
		password = nil // as slow, and no slower for a very long one
	}
	right, herr := d.matches(ctx, h, password)
	switch {
	case herr != nil:
		return nil, herr
	case err != nil:
		return nil, err
	case !usable || !right:
		return nil, fmt.Errorf("%w: wrong main password", directory.ErrDenied)
	}
	return rec, nil
}

// Watch implements directory.Watcher: the changes of the store, under the
// names of the accounts.
func (d *Directory) Watch(ctx context.Context) (<-chan directory.Change, error) {
	events, err := d.store.Watch(ctx, record.PrefixLocal)
	if err != nil {
		return nil, storeError("watch local accounts", err)
	}
	changes := make(chan directory.Change)
	go func() { // ends with ctx, or when the store closes
		defer close(changes)
		for e := range events {
			c := directory.Change{Reset: e.Reset, Lost: e.Lost}
			if !e.Reset && !e.Lost {
				c = directory.Change{Name: strings.TrimPrefix(e.Entry.Key, record.PrefixLocal)}
			}
			select {
			case changes <- c: // while nobody listens, the store counts what is missed
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes, nil
}

// read returns the record of name and when it was written.
func (d *Directory) read(ctx context.Context, name string) (*record.Local, store.Revision, error) {
	if checkName(name) != nil {
		return nil, 0, notFound(name)
	}
	e, err := d.store.Get(ctx, record.PrefixLocal+name)
	if errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrUnavailable) {
		return nil, 0, notFound(name)
	}
	if err != nil {
		return nil, 0, storeError("read local account", err)
	}
	rec, err := d.open(e)
	return rec, e.Revision, err
}

// open reads an entry. Its error is never an answer of the contract: a record
// that cannot be read is no account that does not exist.
func (d *Directory) open(e store.Entry) (*record.Local, error) {
	r := d.rooms.Enter()
	defer d.rooms.Leave(r)
	rec, err := d.openIn(r, e)
	if err != nil {
		return nil, err
	}
	return proto.CloneOf(rec), nil
}

// openIn is open in r, where the record is until that is used for another.
func (d *Directory) openIn(r *record.Room, e store.Entry) (rec *record.Local, err error) {
	name := strings.TrimPrefix(e.Key, record.PrefixLocal)
	r.Plain, err = d.keys.AppendOpen(r.Plain[:0], record.KindLocal, e.Key, e.Value)
	switch {
	case errors.Is(err, keyring.ErrTampered):
		return nil, fmt.Errorf("local account %q: %w: %w", name, store.ErrDamaged, err)
	case err != nil: // whole, but this keyring or this version cannot open it
		return nil, fmt.Errorf("local account %q: %w", name, err)
	}
	rec, err = r.Reader.Local(r.Plain)
	if err != nil {
		return nil, fmt.Errorf("local account %q: %w: %w", name, store.ErrDamaged, err)
	}
	if len(rec.GetId()) != idSize {
		return nil, fmt.Errorf("local account %q: %w: an id of %d octets", name, store.ErrDamaged, len(rec.GetId()))
	}
	return rec, nil
}

// account copies what others may know of rec.
func account(name string, rec *record.Local) directory.Account {
	return directory.Account{
		ID:         hex.EncodeToString(rec.GetId()),
		Name:       name,
		Enabled:    rec.GetEnabled(),
		Groups:     slices.Clone(rec.GetGroups()),
		Attributes: maps.Clone(rec.GetAttributes()),
		TwoStep:    directory.NotMine,
	}
}

func notFound(name string) error {
	return fmt.Errorf("%w: no local account %q", directory.ErrNotFound, name)
}

// storeError turns an error of the store into one of the directory. What the
// contract of the directory has no word for passes as it is: a fault, and no
// answer.
func storeError(doing string, err error) error {
	switch {
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFull), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: %w", doing, directory.ErrUnavailable, err)
	case errors.Is(err, store.ErrConflict):
		return fmt.Errorf("%s: %w: %w", doing, directory.ErrConflict, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
