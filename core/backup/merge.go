package backup

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
)

// Why an app password of a backup does not come back.
const (
	whyDeleted = "deleted"
	whyRotated = "rotated"
	whyAccount = "account-deleted"
)

// Where it is known from what was taken away after the backup.
const (
	FromStore = "store" // the replaced one
	FromAudit = "audit"
)

// An Item is an app password that a restore has something to say about.
type Item struct {
	Account string
	ID      string
	Name    string
	Why     string // "deleted", "rotated" or "account-deleted"; empty where nothing is known
	From    string // FromStore or FromAudit
}

// The steps of TOTP, as the engine counts them.
const (
	totpPeriod = 30 // seconds
	totpSkew   = 1  // steps around now whose codes are right
)

// A merger makes the records of the new store of those in the backup.
//
// What both the backup and the replaced store know is taken as the replaced
// store has it, what was taken away since stays away, and what is in the
// replaced store alone does not come.
type merger struct {
	set      *Set
	replaced *replaced // nil: tells nothing
	history  history   // nil: tells nothing
	suspend  bool
	now      time.Time

	gone     map[string]bool // names of accounts that were deleted
	accounts int
	active   int // app passwords in the new store
	away     []Item
	later    []Item // made after the backup
	unsure   []Item
	silent   int // accounts of which nothing is known
}

// account changes rec, of the backup, to what it shall be; changed is false if
// it is as it was.
func (m *merger) account(ctx context.Context, name string, rec *record.Account) (changed bool, err error) {
	var old record.Account
	_, ok, err := m.replaced.get(ctx, record.PrefixAccount+name, &old)
	if err != nil {
		return false, err
	}
	switch {
	case ok && old.Generation == rec.Generation:
	case ok && old.Generation > rec.Generation:
		changed = true
		m.fromReplaced(name, rec, &old)
	case m.history != nil:
		changed = m.fromHistory(name, rec)
	default:
		changed = m.fromNothing(name, rec)
	}
	if changed {
		rec.Generation = max(rec.Generation, old.Generation) + 1
	}
	if !rec.Removed {
		m.accounts++
	}
	m.active += len(rec.AppPasswords)
	return changed, nil
}

// remove makes rec the record of an account that was deleted.
func (m *merger) remove(name string, rec *record.Account, from string) {
	for _, p := range rec.AppPasswords {
		m.away = append(m.away, itemOf(name, p, whyAccount, from))
	}
	generation := rec.Generation
	proto.Reset(rec)
	rec.Generation, rec.Removed = generation, true
	m.gone[name] = true
}

// fromReplaced carries over what the later record says.
func (m *merger) fromReplaced(name string, rec, old *record.Account) {
	if rec.Removed {
		return
	}
	if old.Removed || old.DirectoryId != rec.DirectoryId || string(old.Id) != string(rec.Id) {
		m.remove(name, rec, FromStore)
		return
	}
	var kept []*record.AppPassword
	for _, p := range rec.AppPasswords {
		i := slices.IndexFunc(old.AppPasswords, func(q *record.AppPassword) bool { return string(q.Id) == string(p.Id) })
		if i >= 0 {
			kept = append(kept, old.AppPasswords[i])
			continue
		}
		m.takeAway(name, rec, p, whyDeleted, FromStore)
	}
	for _, q := range old.AppPasswords {
		if !slices.ContainsFunc(rec.AppPasswords, func(p *record.AppPassword) bool { return string(p.Id) == string(q.Id) }) {
			m.later = append(m.later, itemOf(name, q, "", FromStore))
		}
	}
	rec.AppPasswords, rec.TwoStep = kept, old.TwoStep
	rec.Remembered = remembered(old.Remembered, rec.Remembered)
}

// fromHistory carries over what the audit says.
func (m *merger) fromHistory(name string, rec *record.Account) (changed bool) {
	h := m.history[name]
	if h == nil || rec.Removed {
		return false
	}
	if h.deleted {
		m.remove(name, rec, FromAudit)
		return true
	}
	var kept []*record.AppPassword
	for _, p := range rec.AppPasswords {
		if why, ok := h.gone[hexID(p.Id)]; ok {
			m.takeAway(name, rec, p, why, FromAudit)
			continue
		}
		if suspended, ok := h.suspended[hexID(p.Id)]; ok {
			p.Suspended = suspended
		}
		if pin, ok := h.pins[hexID(p.Id)]; ok {
			p.Pin = pin
		}
		kept = append(kept, p)
	}
	rec.AppPasswords = kept
	if h.twoStep {
		rec.TwoStep = nil // its secret is another by now, or none
	}
	if t := rec.TwoStep; t != nil {
		m.useUp(t)
		if h.recoveryUsed {
			t.Recovery = nil // which one is not known
		}
	}
	return true
}

// fromNothing takes care where nothing is known.
func (m *merger) fromNothing(name string, rec *record.Account) (changed bool) {
	if rec.Removed {
		return false
	}
	m.silent++
	for _, p := range rec.AppPasswords {
		if p.Suspended || p.Expires != 0 && p.Expires <= m.now.UnixMilli() {
			continue
		}
		m.unsure = append(m.unsure, itemOf(name, p, "", ""))
		p.Suspended = m.suspend
	}
	if rec.TwoStep != nil {
		m.useUp(rec.TwoStep)
	}
	return true
}

// useUp makes every security code that can have been used one that was.
func (m *merger) useUp(t *record.TwoStep) {
	t.LastStep = max(t.LastStep, m.now.Unix()/totpPeriod+totpSkew)
	t.Pending, t.PendingSince = nil, 0
}

// takeAway moves p, of rec, to the remembered ones.
func (m *merger) takeAway(name string, rec *record.Account, p *record.AppPassword, why, from string) {
	m.away = append(m.away, itemOf(name, p, why, from))
	for _, t := range []*record.Tag{p.Previous, p.Tag} {
		if t != nil {
			rec.Remembered = append(rec.Remembered, &record.Remembered{Id: p.Id, Name: p.Name, Tag: t, Deleted: m.now.UnixMilli()})
		}
	}
}

// remembered joins what two records remember: of a text that both do, what the
// first says. The oldest stand first.
func remembered(first, second []*record.Remembered) []*record.Remembered {
	all := slices.Clone(first)
	for _, r := range second {
		// Tags that a rotation made anew differ, the app password does not.
		if !slices.ContainsFunc(first, func(f *record.Remembered) bool { return string(f.Id) == string(r.Id) }) {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b *record.Remembered) int { return int(min(max(a.Deleted-b.Deleted, -1), 1)) })
	return all
}

func itemOf(name string, p *record.AppPassword, why, from string) Item {
	return Item{Account: name, ID: hexID(p.Id), Name: p.Name, Why: why, From: from}
}

// local returns the sealed record of a local account, or nil if it stays away.
func (m *merger) local(ctx context.Context, key string, sealed []byte) ([]byte, error) {
	name := strings.TrimPrefix(key, record.PrefixLocal)
	there, damaged := m.set.account(name)
	if m.gone[name] || damaged { // without its record, two-step verification would seem to be off
		return nil, nil
	}
	if !there {
		var old record.Account
		if _, ok, err := m.replaced.get(ctx, record.PrefixAccount+name, &old); err != nil || ok && old.Removed {
			return nil, err
		}
	}
	opened, err := openRecord(m.set.keys, key, sealed)
	if err != nil {
		return nil, err
	}
	rec := opened.(*record.Local)
	var old record.Local
	later, ok, err := m.replaced.get(ctx, key, &old)
	switch h := m.history[name]; {
	case err != nil:
		return nil, err
	case ok && string(old.Id) != string(rec.Id):
		return nil, nil // somebody else has the name
	case ok:
		return later, nil
	case h == nil:
		return sealed, nil
	case h.deleted:
		return nil, nil
	default:
		if h.changed {
			rec.Enabled = h.enabled
		}
		if h.password {
			rec.Password = "" // the one in the backup is another
		}
		return sealRecord(m.set.keys, key, rec)
	}
}

// merge returns what the new store has at key, or nil for nothing.
func (m *merger) merge(ctx context.Context, key string, sealed []byte) ([]byte, error) {
	switch {
	case strings.HasPrefix(key, record.PrefixAccount):
		opened, err := openRecord(m.set.keys, key, sealed)
		if err != nil {
			return nil, err
		}
		rec := opened.(*record.Account)
		changed, err := m.account(ctx, strings.TrimPrefix(key, record.PrefixAccount), rec)
		if err != nil || !changed {
			return sealed, err
		}
		return sealRecord(m.set.keys, key, rec)
	case strings.HasPrefix(key, record.PrefixLocal):
		return m.local(ctx, key, sealed)
	case strings.HasPrefix(key, record.PrefixActivity):
		if m.gone[strings.TrimPrefix(key, record.PrefixActivity)] {
			return nil, nil
		}
		if later, ok, err := m.replaced.get(ctx, key, new(record.Activity)); err != nil || ok {
			return later, err
		}
	case strings.HasPrefix(key, record.PrefixSession):
		return nil, nil // what is still there is reported again
	}
	return sealed, nil
}
