package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// lookup returns the account called name, which is normalised: from the cache
// where that is right, else from the directory and one record of the store.
// The error is KindNotFound, KindDamaged or KindUnavailable.
func (e *Engine) lookup(ctx context.Context, name string) (*account, error) {
	cached, oldRecord, t := e.cache.get(name)
	fresh := cached != nil && e.fresh(cached)
	if fresh && !oldRecord && e.watches.store.Load() && !asks(ctx) {
		return cached, nil
	}
	var dir directory.Account
	asked, answered := e.opt.Now(), false
	if fresh {
		dir, asked = cached.dir, cached.asked
	} else {
		var err error
		dir, err = e.ask(ctx, name)
		answered = err == nil
		if KindOf(err) == KindUnavailable && cached != nil && asked.Sub(cached.asked) < e.opt.Stale {
			dir, asked, err = cached.dir, cached.asked, nil
		}
		if err != nil {
			if KindOf(err) != KindUnavailable {
				e.cache.drop(name) // the last answer is this one
			}
			return nil, err
		}
	}
	room := e.rooms.Enter()
	defer e.rooms.Leave(room)
	rec, rev, err := e.readAccountIn(ctx, name, room)
	if err != nil {
		if answered {
			e.cache.drop(name) // it holds an answer from before
		}
		return nil, err
	}
	if answered && e.lapsed(dir, rec) {
		e.lapse(name)
	}
	a := newAccount(name, dir, rec, rev, asked, e.scopes)
	e.cache.put(a, t)
	return a, nil
}

// atHand returns the account where lookup would take it from the cache, else nil.
func (e *Engine) atHand(name []byte) *account {
	cached := e.cache.current(name)
	if cached == nil || !e.fresh(cached) || !e.watches.store.Load() {
		return nil
	}
	return cached
}

// bring is lookup of an account that the cache does not have, where nothing need be
// waited for. Whatever is not as it mostly is, it leaves to lookup: nil.
func (e *Engine) bring(name string) *account {
	near, ok := e.directory.(directory.Nearby)
	if !ok {
		return nil
	}
	cached, _, t := e.cache.get(name)
	if cached != nil {
		return nil
	}
	asked := e.opt.Now()
	dir, ok := near.AtHand(name)
	if !ok || !describes(dir, name) {
		return nil
	}
	room := e.rooms.Enter()
	defer e.rooms.Leave(room)
	rec, rev, ok := e.recordAtHand(name, room)
	if !ok || e.lapsed(dir, rec) {
		return nil
	}
	a := newAccount(name, dir, rec, rev, asked, e.scopes)
	e.cache.put(a, t)
	return a
}

// recordAtHand is readAccountIn of a record that the store has at hand, for which the
// cache has none.
func (e *Engine) recordAtHand(name string, room *record.Room) (rec *record.Account, rev store.Revision, ok bool) {
	key := record.PrefixAccount + name
	if room.Sealed, rev, ok = e.store.AtHand(room.Sealed[:0], key); !ok {
		return nil, 0, false
	}
	rec, err := e.openRecord(key, room.Sealed, room)
	return rec, rev, err == nil
}

// fresh says whether what the directory said of a still holds.
func (e *Engine) fresh(a *account) bool {
	return e.watches.directory.Load() || e.opt.Now().Sub(a.asked) < e.opt.MaxAge
}

// ask asks the directory for name. An answer for another account is none.
func (e *Engine) ask(ctx context.Context, name string) (directory.Account, error) {
	dir, err := e.directory.Lookup(ctx, name)
	if err != nil {
		return directory.Account{}, directoryError("look up account", err)
	}
	if !describes(dir, name) {
		return directory.Account{}, &Error{Op: "look up account", Kind: KindUnavailable, Err: errors.New("the directory answered for another account")}
	}
	return dir, nil
}

// describes says whether dir is an answer for the account called name.
func describes(dir directory.Account, name string) bool {
	got, err := NormalizeAccount(dir.Name)
	return err == nil && got == name && dir.ID != ""
}

// readAccount returns the account's record, or an empty one with revision 0 if
// there is none. One that is older than the cache's was put back by somebody:
// what was deleted meanwhile would work again.
func (e *Engine) readAccount(ctx context.Context, name string) (*record.Account, store.Revision, error) {
	return e.readAccountIn(ctx, name, &record.Room{})
}

// readAccountIn is readAccount in room, where the record is until that is used
// for another.
func (e *Engine) readAccountIn(ctx context.Context, name string, room *record.Room) (*record.Account, store.Revision, error) {
	known := e.cache.generation(name) // before, for what another reads meanwhile is newer
	var rec *record.Account
	key := record.PrefixAccount + name
	entry, err := e.store.Get(ctx, key)
	switch err = storeError("read account", err); KindOf(err) {
	case 0:
		rec, err = e.openRecord(key, entry.Value, room)
	case KindNotFound:
		rec, err = &record.Account{}, nil
	}
	if err == nil && rec.Generation < known {
		err = &Error{Op: "read account", Kind: KindDamaged, Err: fmt.Errorf("the record is of generation %d, and %d was there before: an older copy was put back", rec.Generation, known)}
	}
	return rec, entry.Revision, err
}

// openRecord opens the record of an account in room.
func (e *Engine) openRecord(key string, sealed []byte, room *record.Room) (rec *record.Account, err error) {
	room.Plain, err = e.openIn(room.Plain[:0], record.KindAccount, key, sealed, func(plain []byte) (err error) {
		rec, err = room.Reader.Account(plain)
		return err
	})
	return rec, err
}

// readiness remembers for a moment whether the store answered, so that asking
// often costs nothing.
type readiness struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// Ready says whether attempts can be decided now: whether the store answers
// with a record that the keyring opens. The answer may be a second old.
func (e *Engine) Ready(ctx context.Context) error {
	e.ready.mu.Lock()
	defer e.ready.mu.Unlock()
	now := e.opt.Now()
	if age := now.Sub(e.ready.at); age >= 0 && age < time.Second {
		return e.ready.err
	}
	_, _, err := e.readMeta(ctx)
	if err == nil || ctx.Err() == nil { // that a caller left says nothing to the next
		e.ready.at, e.ready.err = now, err
	}
	return err
}

// Jitter returns a number that is fixed for each account and keyed, so that
// nobody outside can compute it.
func (e *Engine) Jitter(account string) uint64 {
	if name, err := NormalizeAccount(account); err == nil {
		account = name
	}
	return e.keys.Jitter(account)
}
