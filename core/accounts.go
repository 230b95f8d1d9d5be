package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// An Account is what can be said of an account.
type Account struct {
	Name         string
	Enabled      bool
	Groups       []string
	TwoStep      bool
	TwoStepSince time.Time // zero: off, or the directory does not say
	Recovery     int       // recovery codes that are left
	AppPasswords int
	Allowed      bool // app passwords are not disallowed for it (rule A7)
}

// Account returns what can be said of one account.
func (e *Engine) Account(ctx context.Context, account string) (Account, error) {
	o, err := e.owned(ctx, account)
	if err != nil {
		return Account{}, err
	}
	return e.describeAccount(o), nil
}

func (e *Engine) describeAccount(o owned) Account {
	return Account{
		Name: o.dir.Name, Enabled: o.dir.Enabled, Groups: slices.Clone(o.dir.Groups),
		TwoStep: o.twoStep(), TwoStepSince: fromMillis(o.rec.TwoStep.GetSince()), Recovery: len(o.rec.TwoStep.GetRecovery()),
		AppPasswords: len(o.rec.AppPasswords), Allowed: !e.policy.Load().denies(o.dir.Groups),
	}
}

// editor returns the directory as one whose accounts can be changed here.
func (e *Engine) editor() (directory.Editor, error) {
	d, ok := e.directory.(directory.Editor)
	if !ok {
		return nil, invalid("account", "the accounts are kept by the configured directory; change them there")
	}
	return d, nil
}

// Accounts returns up to limit accounts with names greater than after.
func (e *Engine) Accounts(ctx context.Context, after string, limit int) ([]Account, error) {
	d, err := e.editor()
	if err != nil {
		return nil, err
	}
	found, err := d.List(ctx, after, limit)
	if err != nil {
		return nil, directoryError("list accounts", err)
	}
	all := make([]Account, 0, len(found))
	for _, dir := range found {
		o, err := e.ownedBy(ctx, dir.Name, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, e.describeAccount(o))
	}
	return all, nil
}

// AddAccount makes an account in a directory that allows it. The main password
// may be nil.
func (e *Engine) AddAccount(ctx context.Context, account string, groups []string, mainPassword []byte) (Account, error) {
	d, err := e.editor()
	if err != nil {
		return Account{}, err
	}
	name, err := NormalizeAccount(account)
	if err != nil {
		return Account{}, err
	}
	if err := e.recordable(); err != nil {
		return Account{}, err
	}
	if isText(name) {
		return Account{}, invalid("add account", "the name is shaped like an app password; choose another")
	}
	dir, err := d.Add(ctx, name, groups, mainPassword)
	e.cache.drop(name)
	if errors.Is(err, directory.ErrConflict) {
		return Account{}, &Error{Op: "add account", Kind: KindConflict, Err: fmt.Errorf("there is an account %q already", name)}
	}
	if err != nil {
		return Account{}, directoryError("add account", err)
	}
	e.record(ctx, Event{Kind: EventAccountAdded, Account: name})
	return e.describeAccount(owned{name: name, dir: dir, rec: &record.Account{}}), nil
}

// SetEnabled enables or disables an account. While it is disabled, none of its
// app passwords works (rule A6).
func (e *Engine) SetEnabled(ctx context.Context, account string, enabled bool) error {
	kind := EventAccountDisabled
	if enabled {
		kind = EventAccountEnabled
	}
	return e.edit(ctx, account, kind, func(d directory.Editor, name string) error {
		return d.SetEnabled(ctx, name, enabled)
	})
}

// SetMainPassword changes the main password, and lets the app passwords be,
// suspends or deletes them, as the policy says (rule A15).
func (e *Engine) SetMainPassword(ctx context.Context, account string, password []byte) error {
	err := e.edit(ctx, account, EventPasswordSet, func(d directory.Editor, name string) error {
		return d.SetPassword(ctx, name, password)
	})
	consequence := e.policy.Load().OnPasswordChange
	if err != nil || consequence == Keep {
		return err
	}
	kind, gone := EventSuspended, []Ref(nil)
	name, err := e.change(ctx, account, func(o owned) error {
		if consequence == Delete {
			kind, gone = EventDeleted, e.removeAll(o.rec)
			return nil
		}
		gone = nil
		for _, p := range o.rec.AppPasswords {
			p.Suspended = true
			gone = append(gone, refOf(p))
		}
		return nil
	})
	if err != nil {
		return &Error{Op: "set main password", Kind: KindOf(err), Err: errors.Join(errors.New("the main password was changed, but the app passwords are as they were; set it once more"), err)}
	}
	e.recordEach(ctx, kind, name, gone)
	return nil
}

// DeleteAccount deletes an account with everything it has. An account made
// later under the same name has none of it.
func (e *Engine) DeleteAccount(ctx context.Context, account string) error {
	return e.edit(ctx, account, EventAccountDeleted, func(d directory.Editor, name string) error {
		if err := e.erase(ctx, name); err != nil {
			return err
		}
		if err := e.forgetActivity(ctx, name); err != nil {
			return err
		}
		return d.Remove(ctx, name) // last: while the account is there all of this can be repeated
	})
}

// erase rewrites the account's record, also one that cannot be opened. It is
// not removed, so that nothing works even if an older copy of the directory's
// record came back.
func (e *Engine) erase(ctx context.Context, name string) error {
	err := e.update(ctx, name, func(rec *record.Account) error {
		generation := rec.Generation
		rec.Reset()
		rec.Generation, rec.Removed = generation, true
		return nil
	})
	if KindOf(err) != KindDamaged {
		return err
	}
	entry, err := e.store.Get(ctx, record.PrefixAccount+name)
	if err != nil {
		return storeError("erase account", err)
	}
	// A revision of the store is never below the number of writes of a record,
	// but for a store whose past was put back while this ran.
	rec := &record.Account{Generation: max(uint64(entry.Revision), e.cache.generation(name)) + 1, Removed: true}
	op, err := e.put(record.KindAccount, record.PrefixAccount+name, rec, entry.Revision)
	if err != nil {
		return err
	}
	_, err = e.store.Apply(ctx, store.Batch{op})
	e.cache.dropRecord(name, latest)
	return storeError("erase account", err)
}

// forgetActivity removes what happened at name, so that whoever has the name
// next does not see it.
func (e *Engine) forgetActivity(ctx context.Context, name string) error {
	e.activity.lock() // or what is being written now would come after
	defer e.activity.flushing.Unlock()
	e.activity.forget(name)
	_, err := e.store.Apply(ctx, store.Batch{{Action: store.Delete, Key: record.PrefixActivity + name, Revokes: true}})
	return storeError("forget history", err)
}

// edit changes one account of a directory that allows it.
func (e *Engine) edit(ctx context.Context, account string, kind EventKind, change func(d directory.Editor, name string) error) error {
	d, err := e.editor()
	if err != nil {
		return err
	}
	name, err := NormalizeAccount(account)
	if err != nil {
		return err
	}
	if err := e.recordable(); err != nil && kind != EventAccountDisabled && kind != EventAccountDeleted {
		return err // what takes access away is done also without an audit: the event waits
	}
	_, err = e.known(ctx, name)
	if err != nil && (kind != EventAccountDeleted || KindOf(err) != KindDamaged) { // what is damaged can still be deleted
		return err
	}
	err = change(d, name)
	e.cache.drop(name)
	var own *Error
	switch {
	case errors.As(err, &own):
		return err
	case err != nil:
		return directoryError("change account", err)
	}
	e.record(ctx, Event{Kind: kind, Account: name})
	return nil
}

// Attempts returns the last attempts at an account, the newest first. A name
// without an account has only what happened since the engine was opened.
func (e *Engine) Attempts(ctx context.Context, account string) ([]AttemptEntry, error) {
	name, err := NormalizeAccount(account)
	if err != nil {
		return nil, err
	}
	if dir, err := e.ask(ctx, name); err == nil {
		rec, rev, err := e.readAccount(ctx, name)
		if err == nil && rev != 0 && !rec.Removed && !belongs(rec, dir) {
			return nil, nil // what is kept is of somebody who had the name before
		}
	}
	happened, err := e.activityOf(ctx, name)
	if err != nil {
		return nil, err
	}
	all := make([]AttemptEntry, 0, len(happened.Attempts))
	for _, r := range slices.Backward(happened.Attempts) {
		all = append(all, fromRecord(r))
	}
	return all, nil
}

// Exists says, as an error, that there is no account of this name.
func (e *Engine) Exists(ctx context.Context, account string) error {
	name, err := NormalizeAccount(account)
	if err != nil {
		return err
	}
	_, err = e.known(ctx, name)
	return err
}
