package core

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// After a rotation the records are brought under the newest key one by one,
// while sign-ins go on: both keys are in the ring, and every record and tag
// names its own. What is left to do stands in the records themselves, so that
// a kill at any point loses nothing: the next Open goes on.

// recordKinds maps the prefix of a key to the kind of its record.
var recordKinds = [...]struct{ prefix, kind string }{
	{record.PrefixAccount, record.KindAccount},
	{record.PrefixActivity, record.KindActivity},
	{record.PrefixLocal, record.KindLocal},
	{record.PrefixFact, record.KindFact},
	{record.PrefixSession, record.KindSession},
	{record.KeyMeta, record.KindMeta},
}

func kindOfKey(key string) (string, bool) {
	for _, k := range recordKinds {
		if strings.HasPrefix(key, k.prefix) {
			return k.kind, true
		}
	}
	return "", false
}

// scanPage is how many records are read at once.
const scanPage = 256

// eachRecord calls fn for every record of the store, in the order of keys.
func (e *Engine) eachRecord(ctx context.Context, fn func(store.Entry) error) error {
	after := ""
	for {
		page, err := e.store.Scan(ctx, "", after, scanPage)
		if err != nil {
			return storeError("scan", err)
		}
		for _, entry := range page {
			if err := fn(entry); err != nil {
				return err
			}
			after = entry.Key
		}
		if len(page) < scanPage {
			return nil
		}
	}
}

// KeyUse returns how many records need each root key: because they are sealed
// with it, or because something in them is.
func (e *Engine) KeyUse(ctx context.Context) (map[keyring.KeyID]int, error) {
	use := make(map[keyring.KeyID]int)
	err := e.eachRecord(ctx, func(entry store.Entry) error {
		for id := range e.keysOf(entry) {
			use[id]++
		}
		return nil
	})
	return use, err
}

// keysOf returns the keys that a record needs. Of one that does not open only
// the outermost can be told.
func (e *Engine) keysOf(entry store.Entry) map[keyring.KeyID]bool {
	keys := make(map[keyring.KeyID]bool, 1)
	add := func(sealed []byte) {
		if id, ok := keyring.SealedWith(sealed); ok {
			keys[id] = true
		}
	}
	add(entry.Value)
	if !strings.HasPrefix(entry.Key, record.PrefixAccount) {
		return keys
	}
	var rec record.Account
	if e.open(record.KindAccount, entry.Key, entry.Value, &rec) != nil {
		return keys
	}
	for _, tag := range tagsOf(&rec) {
		keys[keyID(tag.Key)] = true
		add(tag.Inner)
	}
	for _, p := range rec.AppPasswords {
		for _, material := range []map[string][]byte{p.Material, p.PreviousMaterial} {
			for _, sealed := range material {
				add(sealed)
			}
		}
	}
	return keys
}

func keyID(octets []byte) (id keyring.KeyID) {
	copy(id[:], octets)
	return id
}

// tagsOf returns every tag in rec.
func tagsOf(rec *record.Account) []*record.Tag {
	var all []*record.Tag
	for _, p := range rec.AppPasswords {
		if p.Tag != nil {
			all = append(all, p.Tag)
		}
		if p.Previous != nil {
			all = append(all, p.Previous)
		}
	}
	for _, r := range rec.Remembered {
		if r.Tag != nil {
			all = append(all, r.Tag)
		}
	}
	return append(all, rec.TwoStep.GetRecovery()...)
}

// Reseal brings every record under the newest key, and returns how many it
// wrote. A record that cannot be opened stays as it is and is reported; the
// error then is the first of these.
func (e *Engine) Reseal(ctx context.Context) (written int, err error) {
	newest := e.keys.Newest()
	var damaged []error
	err = e.eachRecord(ctx, func(entry store.Entry) error {
		keys := e.keysOf(entry)
		if delete(keys, newest); len(keys) == 0 {
			return nil
		}
		err := e.resealOne(ctx, entry.Key)
		switch KindOf(err) {
		case 0:
			written++
		case KindDamaged:
			damaged = append(damaged, err)
		case KindNotFound, KindConflict: // it was deleted, or written anew with the newest key
		default:
			return err
		}
		return nil
	})
	if err == nil && len(damaged) > 0 {
		err = &Error{Op: "reseal", Kind: KindDamaged, Err: errors.Join(damaged...)}
	}
	return written, err
}

// resealOne brings one record under the newest key.
func (e *Engine) resealOne(ctx context.Context, key string) error {
	if name, ok := strings.CutPrefix(key, record.PrefixAccount); ok {
		return e.update(ctx, name, e.retag)
	}
	kind, ok := kindOfKey(key)
	if !ok {
		return &Error{Op: "reseal", Kind: KindDamaged, Err: fmt.Errorf("the record %q is of no kind that this version knows", shown(key))}
	}
	entry, err := e.store.Get(ctx, key)
	if err != nil {
		return storeError("reseal", err)
	}
	plain, err := e.keys.Open(kind, key, entry.Value)
	if err != nil {
		return &Error{Op: "reseal", Kind: KindDamaged, Err: fmt.Errorf("the record %q cannot be opened: %w", shown(key), err)}
	}
	defer clear(plain)
	_, err = e.store.Apply(ctx, store.Batch{{Action: store.Put, Key: key, Value: e.keys.Seal(kind, key, plain), IfRevision: entry.Revision}})
	return storeError("reseal", err)
}

// retag makes every tag of rec anew with the newest key, from the inner hashes,
// and seals its material anew.
func (e *Engine) retag(rec *record.Account) error {
	for _, tag := range tagsOf(rec) {
		if keyID(tag.Key) == e.keys.Newest() {
			continue
		}
		inner, err := e.keys.Open("inner", hex.EncodeToString(tag.Tag), tag.Inner)
		if err != nil {
			return &Error{Op: "reseal", Kind: KindDamaged, Err: fmt.Errorf("an inner hash cannot be opened: %w", err)}
		}
		fresh := e.tag(inner)
		clear(inner)
		proto.Reset(tag)
		proto.Merge(tag, fresh)
	}
	for _, p := range rec.AppPasswords {
		if err := errors.Join(e.resealMaterial(rec, p, p.Material), e.resealMaterial(rec, p, p.PreviousMaterial)); err != nil {
			return &Error{Op: "reseal", Kind: KindDamaged, Err: fmt.Errorf("sealed material cannot be opened: %w", err)}
		}
	}
	return nil
}

// resealMaterial seals the material of p anew.
func (e *Engine) resealMaterial(rec *record.Account, p *record.AppPassword, byMethod map[string][]byte) error {
	for method, sealed := range byMethod {
		if id, _ := keyring.SealedWith(sealed); id == e.keys.Newest() {
			continue
		}
		at := materialKey(rec.Id, p.Id, method, p.Services)
		material, err := e.keys.Open("material", at, sealed)
		if err != nil {
			return err
		}
		byMethod[method] = e.keys.Seal("material", at, material)
		clear(material)
	}
	return nil
}

// KeyRotated tells the engine that its keyring has a newer key: it records
// that, and brings the records under it in the background, as Open does where
// it finds two keys.
func (e *Engine) KeyRotated(ctx context.Context) {
	e.record(ctx, Event{Kind: EventKeyRotated, Detail: e.keys.Newest().String()})
	e.wantReseal()
}

// KeyRetired tells the engine that a key was taken out of its keyring.
func (e *Engine) KeyRetired(ctx context.Context, id keyring.KeyID) {
	e.record(ctx, Event{Kind: EventKeyRetired, Detail: id.String()})
}

func (e *Engine) wantReseal() {
	select {
	case e.rotated <- struct{}{}:
	default: // it is told already
	}
}

// resealRetry is how long to wait after a try that failed.
const resealRetry = 30 * time.Second

// resealLoop brings records under the newest key, until ctx ends.
func (e *Engine) resealLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.rotated:
		}
		e.resealing.Store(true)
		written, err := e.Reseal(ctx)
		e.resealing.Store(false)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			e.log.Error("not every record could be brought under the newest key", "written", written, "err", err)
		} else {
			e.log.Info("every record is under the newest key", "written", written)
		}
		if KindOf(err) == KindUnavailable {
			select {
			case <-ctx.Done():
				return
			case <-time.After(resealRetry):
				e.wantReseal()
			}
		}
	}
}
