package core

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/secret"
)

// MaxOverlap is the longest that a text may work on after it was rotated.
const MaxOverlap = 30 * 24 * time.Hour

// Delete deletes the app password that which names, by id or name. From the
// moment it returns nil the app password never works again (rule A8); for 90
// days a device that still tries it is named (rule A14).
func (e *Engine) Delete(ctx context.Context, account, which string) (Ref, error) {
	return e.changeOne(ctx, account, which, EventDeleted, func(o owned, i int) error {
		e.remove(o.rec, i)
		return nil
	})
}

// DeleteAll deletes every app password of the account, and returns which.
func (e *Engine) DeleteAll(ctx context.Context, account string) ([]Ref, error) {
	var gone []Ref
	name, err := e.change(ctx, account, func(o owned) error {
		gone = e.removeAll(o.rec)
		return nil
	})
	if err != nil {
		return nil, err
	}
	e.recordEach(ctx, EventDeleted, name, gone)
	return gone, nil
}

// Suspend stops an app password until it is resumed (rule A13).
func (e *Engine) Suspend(ctx context.Context, account, which string) (Ref, error) {
	return e.changeOne(ctx, account, which, EventSuspended, func(o owned, i int) error {
		o.rec.AppPasswords[i].Suspended = true
		return nil
	})
}

// Resume ends what Suspend began.
func (e *Engine) Resume(ctx context.Context, account, which string) (Ref, error) {
	return e.changeOne(ctx, account, which, EventResumed, func(o owned, i int) error {
		o.rec.AppPasswords[i].Suspended = false
		return nil
	})
}

// Repin forgets the device of an app password: the next one that uses it
// becomes its device.
func (e *Engine) Repin(ctx context.Context, account, which string) (Ref, error) {
	return e.changeOne(ctx, account, which, EventRepinned, func(o owned, i int) error {
		if !o.rec.AppPasswords[i].PinDevice {
			return invalid("repin", "the app password %q is not pinned to a device; its profile has no pin", o.rec.AppPasswords[i].Name)
		}
		o.rec.AppPasswords[i].Pin = ""
		return nil
	})
}

// Rotate gives an app password a new text and keeps everything else. The old
// text works on for overlap, up to MaxOverlap.
func (e *Engine) Rotate(ctx context.Context, account, which string, overlap time.Duration) (AppPassword, secret.Text, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return AppPassword{}, secret.Text{}, invalid("rotate", "the overlap may be from 0 to %d days", int(MaxOverlap.Hours()/24))
	}
	var made AppPassword
	var text secret.Text
	_, err := e.changeOne(ctx, account, which, EventRotated, func(o owned, i int) (err error) {
		made, text, err = e.rotate(ctx, o, o.rec.AppPasswords[i], overlap)
		return err
	})
	if err != nil {
		text.Wipe()
		return AppPassword{}, secret.Text{}, err
	}
	return made, text, nil
}

func (e *Engine) rotate(ctx context.Context, o owned, p *record.AppPassword, overlap time.Duration) (AppPassword, secret.Text, error) {
	policy := e.policy.Load()
	if _, err := policy.profileFor(&NewAppPassword{Profile: knownProfile(policy, p.Profile)}, o); err != nil {
		return AppPassword{}, secret.Text{}, err
	}
	uses, err := e.usesOf(ctx, o.name)
	if err != nil {
		return AppPassword{}, secret.Text{}, err
	}
	letters := int(p.Letters)
	if profile, ok := policy.Profiles[p.Profile]; ok {
		letters = profile.Letters
	}
	text, err := secret.Generate(e.opt.Rand, letters)
	if err != nil {
		return AppPassword{}, secret.Text{}, &Error{Op: "rotate", Kind: KindInternal, Err: err}
	}
	now := e.clock.now()
	if p.Previous != nil {
		e.remember(o.rec, p, p.Previous)
	}
	p.Previous, p.PreviousUntil, p.Rotated = p.Tag, toMillis(now.Add(overlap)), toMillis(now)
	p.PreviousMaterial = nil
	if overlap > 0 {
		p.PreviousMaterial = p.Material
	}
	e.setText(o.rec, p, &text)
	return e.describe(policy, o, p, uses[hex.EncodeToString(p.Id)]), text, nil
}

// knownProfile returns name, or the default profile where the administrator
// has taken the profile out of the configuration.
func knownProfile(policy *Policy, name string) string {
	if _, ok := policy.Profiles[name]; ok {
		return name
	}
	return DefaultProfile
}

// changeOne changes the app password that which names, and records the event.
func (e *Engine) changeOne(ctx context.Context, account, which string, kind EventKind, change func(o owned, i int) error) (Ref, error) {
	var ref Ref
	name, err := e.change(ctx, account, func(o owned) error {
		i, err := o.pick(which)
		if err != nil {
			return err
		}
		ref = refOf(o.rec.AppPasswords[i])
		return change(o, i)
	})
	if err != nil {
		return Ref{}, err
	}
	e.record(ctx, Event{Kind: kind, Account: name, AppPassword: ref})
	return ref, nil
}

func (e *Engine) recordEach(ctx context.Context, kind EventKind, name string, refs []Ref) {
	for _, ref := range refs {
		e.record(ctx, Event{Kind: kind, Account: name, AppPassword: ref})
	}
}

func refOf(p *record.AppPassword) Ref {
	return Ref{ID: hex.EncodeToString(p.Id), Name: p.Name}
}

// remove takes the app password at i out of rec and remembers its texts.
func (e *Engine) remove(rec *record.Account, i int) {
	p := rec.AppPasswords[i]
	if p.Previous != nil {
		e.remember(rec, p, p.Previous)
	}
	e.remember(rec, p, p.Tag)
	rec.AppPasswords = slices.Delete(rec.AppPasswords, i, i+1)
}

// remember keeps the tag of a text of p that does not work any more.
func (e *Engine) remember(rec *record.Account, p *record.AppPassword, tag *record.Tag) {
	rec.Remembered = append(rec.Remembered, &record.Remembered{Id: p.Id, Name: p.Name, Tag: tag, Deleted: toMillis(e.clock.now())})
}

func (e *Engine) removeAll(rec *record.Account) []Ref {
	var gone []Ref
	for len(rec.AppPasswords) > 0 {
		gone = append(gone, refOf(rec.AppPasswords[0]))
		e.remove(rec, 0)
	}
	return gone
}

// pinFirst pins the app password that was presented to the device that did,
// if no other was first; else it returns why not. It is the one sign-in that writes,
// and where that took too long nobody waits for a yes any more.
func (e *Engine) pinFirst(ctx context.Context, a Attempt, v *verdict) Reason {
	mismatch := false
	err := e.update(ctx, v.name, func(rec *record.Account) error {
		if !belongs(rec, v.account.dir) {
			return denied("pin", "the account changed")
		}
		i := owned{rec: rec}.pickID(v.ref.ID)
		if i < 0 {
			return denied("pin", "the app password was deleted")
		}
		p := rec.AppPasswords[i]
		if p.Pin != "" || p.Suspended {
			mismatch = p.Pin != a.Device || p.Suspended
			return errNoChange
		}
		p.Pin = a.Device
		return nil
	})
	switch k := KindOf(err); {
	case err == nil:
		e.record(ctx, Event{Kind: EventPinned, Account: v.name, AppPassword: v.ref, Device: a.Device, Service: a.Service})
	case errors.Is(err, errNoChange) && mismatch:
		return ReasonPinMismatch
	case errors.Is(err, errNoChange):
	case k == KindDenied:
		return ReasonDeleted
	case k == KindDamaged:
		v.err = err
		return ReasonTamper
	default:
		return v.unable(err)
	}
	if err := ctx.Err(); err != nil {
		v.detail = "right, but not decided in time for its device"
		return v.unable(err)
	}
	return ""
}
