package core

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// updateTries is how often an update begins again because another node wrote
// the record in between. Writers of this process take turns.
const updateTries = 50

var lockSeed = maphash.MakeSeed()

func (e *Engine) lockOf(name string) *sync.Mutex {
	return &e.locks[maphash.String(lockSeed, name)%uint64(len(e.locks))]
}

// errNoChange ends an update that found nothing to write.
var errNoChange = errors.New("no change")

// update changes the record of the account called name in one conditional
// write. change gets the record as it is and may be called several times; its
// error ends the update with nothing changed. When update returns nil the
// change is durable, and no later sign-in sees the account as it was before.
func (e *Engine) update(ctx context.Context, name string, change func(rec *record.Account) error) error {
	lock := e.lockOf(name)
	lock.Lock()
	defer lock.Unlock()
	for range updateTries {
		rec, rev, err := e.readAccount(store.Current(ctx), name) // a refusal too must go by what is so now
		if err != nil {
			if KindOf(err) == KindDamaged {
				e.recordTamper(name, err)
			}
			return err
		}
		before := standingOf(rec)
		if err := change(rec); err != nil {
			return err
		}
		revokes := standingOf(rec).below(before)
		e.prune(rec)
		rec.Generation++
		op, err := e.put(record.KindAccount, record.PrefixAccount+name, rec, rev)
		if err != nil {
			return err
		}
		op.Revokes = revokes
		_, err = e.store.Apply(ctx, store.Batch{op})
		if err == nil {
			e.cache.dropWritten(name, rec.Generation)
		} else {
			e.cache.dropRecord(name, latest) // its outcome may be unknown
		}
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		return storeError("write account", err)
	}
	return &Error{Op: "write account", Kind: KindUnavailable, Err: errors.New("the account is being changed too often by others; try again")}
}

// A standing is how much access a record gives. What lowers it may be written on
// a full disk.
type standing struct {
	appPasswords, suspended int
	twoStep, removed        bool
}

func standingOf(rec *record.Account) standing {
	s := standing{appPasswords: len(rec.AppPasswords), twoStep: rec.TwoStep.GetOn(), removed: rec.Removed}
	for _, p := range rec.AppPasswords {
		if p.Suspended {
			s.suspended++
		}
	}
	return s
}

func (s standing) below(before standing) bool {
	return s.appPasswords < before.appPasswords || s.suspended > before.suspended || before.twoStep && !s.twoStep || s.removed && !before.removed
}

// rememberFor is how long a deleted app password is remembered (rule A14), and
// maxRemembered how many of an account.
const (
	rememberFor   = 90 * 24 * time.Hour
	maxRemembered = 100
)

// prune forgets what has been remembered for long enough.
func (e *Engine) prune(rec *record.Account) {
	now := e.clock.now()
	old := toMillis(now.Add(-rememberFor))
	for _, p := range rec.AppPasswords {
		if p.PreviousUntil <= toMillis(now) {
			p.PreviousMaterial = nil
		}
		if p.Previous != nil && p.PreviousUntil < old {
			p.Previous, p.PreviousUntil = nil, 0
		}
	}
	kept := rec.Remembered[:0]
	for _, r := range rec.Remembered {
		if r.Deleted >= old {
			kept = append(kept, r)
		}
	}
	if n := len(kept) - maxRemembered; n > 0 {
		kept = kept[n:] // the oldest stand first
	}
	rec.Remembered = kept
}

// An owned is what a change of app passwords needs: the account in the
// directory and its record, which belongs to it.
type owned struct {
	name string
	dir  directory.Account
	rec  *record.Account
}

// twoStep says whether two-step verification is on.
func (o owned) twoStep() bool {
	if o.dir.TwoStep == directory.NotMine {
		return o.rec.TwoStep.GetOn()
	}
	return o.dir.TwoStep == directory.On
}

// change is update for an account that the directory knows. A record of
// somebody who had the name before is replaced by an empty one.
func (e *Engine) change(ctx context.Context, typed string, change func(o owned) error) (name string, err error) {
	name, err = NormalizeAccount(typed)
	if err != nil {
		return "", err
	}
	unrecordable := e.recordable()
	dir, err := e.known(ctx, name)
	if err != nil {
		return name, cmp.Or(unrecordable, err)
	}
	err = e.update(ctx, name, func(rec *record.Account) error {
		if rec.Generation > 0 && !belongs(rec, dir) { // somebody had the name before
			if err := e.forgetActivity(ctx, name); err != nil {
				return err
			}
		}
		if err := e.claim(rec, dir); err != nil {
			return err
		}
		before := standingOf(rec)
		if dir.TwoStep == directory.On {
			rec.TwoStepThere = true
		}
		if err := change(owned{name: name, dir: dir, rec: rec}); err != nil {
			return cmp.Or(unrecordable, err)
		}
		if standingOf(rec).below(before) {
			return nil // also without an audit, as on a full disk: the event waits
		}
		return unrecordable
	})
	return name, err
}

// known asks the directory for name, for an administrator's eyes.
func (e *Engine) known(ctx context.Context, name string) (directory.Account, error) {
	dir, err := e.ask(ctx, name)
	if KindOf(err) == KindNotFound {
		return dir, &Error{Op: "account", Kind: KindNotFound, Err: fmt.Errorf("there is no account %q", shown(name))}
	}
	return dir, err
}

// claim makes rec the record of the account that dir describes, if it is not.
func (e *Engine) claim(rec *record.Account, dir directory.Account) error {
	if belongs(rec, dir) && len(rec.Id) == 16 {
		return nil
	}
	id, err := e.random(16)
	if err != nil {
		return err
	}
	generation := rec.Generation
	rec.Reset()
	rec.Generation, rec.Id, rec.DirectoryId, rec.Created = generation, id, dir.ID, toMillis(e.opt.Now())
	return nil
}

// random returns n random octets.
func (e *Engine) random(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(e.opt.Rand, b); err != nil {
		return nil, &Error{Op: "random", Kind: KindInternal, Err: err}
	}
	return b, nil
}

// pick returns the index of the app password that which names, by its id or
// its name.
func (o owned) pick(which string) (int, error) {
	if i := o.pickID(which); i >= 0 {
		return i, nil
	}
	name := composed(which)
	for i, p := range o.rec.AppPasswords {
		if sameName(p.Name, name) {
			return i, nil
		}
	}
	return 0, &Error{Op: "app password", Kind: KindNotFound, Err: fmt.Errorf("%s has no app password %q", o.name, shown(which))}
}

// pickID returns the index of the app password with this id, or -1.
func (o owned) pickID(id string) int {
	return slices.IndexFunc(o.rec.AppPasswords, func(p *record.AppPassword) bool { return hex.EncodeToString(p.Id) == id })
}

// ownedBy reads the record of the account that dir describes. One of somebody
// else who had the name before is not shown.
func (e *Engine) ownedBy(ctx context.Context, name string, dir directory.Account) (owned, error) {
	rec, _, err := e.readAccount(ctx, name)
	if err != nil {
		return owned{}, err
	}
	if !belongs(rec, dir) {
		rec = &record.Account{}
	}
	return owned{name: name, dir: dir, rec: rec}, nil
}
