package core

import (
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// An account is what a sign-in needs to know of one account. It is shared by
// all who sign in and never changes; a change of the account makes a new one.
// It holds no secret but keyed tags and sealed material.
type account struct {
	dir      directory.Account
	asked    time.Time // when the directory said so
	revision store.Revision

	id        [16]byte
	twoStep   bool
	passwords []password
	tags      []tagGroup
	deleted   []deleted // remembered ones (rule A14)
}

type deleted struct {
	ref Ref
	at  time.Time
}

// A password is one app password as a sign-in needs it.
type password struct {
	ref           Ref
	id            [8]byte
	profile       string
	services      []string
	methods       []proof.Method
	material      map[proof.Method][]byte // sealed
	pinDevice     bool
	pin           string
	suspended     bool
	created       time.Time
	expires       time.Time               // zero: never
	used          time.Time               // last use, accurate to coarse; zero: never
	previous      map[proof.Method][]byte // sealed material of the text before a rotation
	previousUntil time.Time
}

// A tagGroup holds the tags that were made with one key.
type tagGroup struct {
	key  keyring.KeyID
	tags []taggedText
}

// A taggedText says whose text a tag is.
type taggedText struct {
	tag   [16]byte
	owner owner
	index int // into account.passwords or account.deleted
}

type owner uint8

const (
	ownerNone owner = iota
	ownerCurrent
	ownerPrevious // the text from before a rotation
	ownerDeleted
)

// find returns whose text the inner hash is of. It makes one tag for each key
// that the account's tags were made with: one, but for the time of a rotation.
func (a *account) find(keys *keyring.Keyring, inner []byte) taggedText {
	var found taggedText
	for _, g := range a.tags {
		tag, ok := keys.Tag(g.key, inner)
		if !ok {
			continue
		}
		for i := range g.tags {
			if subtle.ConstantTimeCompare(tag[:], g.tags[i].tag[:]) == 1 {
				found = g.tags[i]
			}
		}
	}
	return found
}

// newAccount makes what a sign-in needs of what the directory and the record
// say. A record that is of another owner, or none, gives no app passwords.
func newAccount(dir directory.Account, rec *record.Account, rev store.Revision, asked time.Time) *account {
	a := &account{dir: dir, asked: asked, revision: rev, twoStep: dir.TwoStep == directory.On}
	if !belongs(rec, dir) {
		return a
	}
	copy(a.id[:], rec.Id)
	if dir.TwoStep == directory.NotMine {
		a.twoStep = rec.TwoStep.GetOn()
	}
	a.passwords = make([]password, len(rec.AppPasswords))
	for i, p := range rec.AppPasswords {
		a.passwords[i] = newPassword(p)
		a.addTag(p.Tag, ownerCurrent, i)
		a.addTag(p.Previous, ownerPrevious, i)
	}
	for i, d := range rec.Remembered {
		a.deleted = append(a.deleted, deleted{ref: Ref{ID: hex.EncodeToString(d.Id), Name: d.Name}, at: fromMillis(d.Deleted)})
		a.addTag(d.Tag, ownerDeleted, i)
	}
	return a
}

// belongs says whether rec holds the app passwords of the account that dir
// describes, and not those of one that had the name before.
func belongs(rec *record.Account, dir directory.Account) bool {
	return rec != nil && !rec.Removed && rec.DirectoryId == dir.ID
}

func newPassword(p *record.AppPassword) password {
	n := password{
		ref:           Ref{ID: hex.EncodeToString(p.Id), Name: p.Name},
		profile:       p.Profile,
		services:      p.Services,
		pinDevice:     p.PinDevice,
		pin:           p.Pin,
		suspended:     p.Suspended,
		created:       fromMillis(p.Created),
		expires:       fromMillis(p.Expires),
		used:          fromMillis(p.Used),
		previousUntil: fromMillis(p.PreviousUntil),
	}
	copy(n.id[:], p.Id)
	for _, m := range p.Methods {
		n.methods = append(n.methods, proof.Method(m))
	}
	n.material, n.previous = byMethod(p.Material), byMethod(p.PreviousMaterial)
	return n
}

func byMethod(stored map[string][]byte) map[proof.Method][]byte {
	if len(stored) == 0 {
		return nil
	}
	material := make(map[proof.Method][]byte, len(stored))
	for m, sealed := range stored {
		material[proof.Method(m)] = sealed
	}
	return material
}

func (a *account) addTag(t *record.Tag, o owner, index int) {
	if t == nil {
		return
	}
	var key keyring.KeyID
	copy(key[:], t.Key)
	text := taggedText{owner: o, index: index}
	if copy(text.tag[:], t.Tag) != len(text.tag) {
		return // a short tag matches nothing
	}
	i := slices.IndexFunc(a.tags, func(g tagGroup) bool { return g.key == key })
	if i < 0 {
		i = len(a.tags)
		a.tags = append(a.tags, tagGroup{key: key})
	}
	a.tags[i].tags = append(a.tags[i].tags, text)
}

// forgotten says whether t is of a text that has been deleted for so long that
// it is not told from a stranger's any more (rule A14).
func (a *account) forgotten(t taggedText, now time.Time) bool {
	switch t.owner {
	case ownerDeleted:
		return now.After(a.deleted[t.index].at.Add(rememberFor))
	case ownerPrevious:
		return now.After(a.passwords[t.index].previousUntil.Add(rememberFor))
	}
	return false
}

// size estimates how many octets of memory a takes.
func (a *account) size() int {
	size := 512 + len(a.dir.ID) + 2*len(a.dir.Name) + 120*len(a.deleted)
	for _, g := range a.dir.Groups {
		size += 32 + len(g)
	}
	for k, v := range a.dir.Attributes {
		size += 64 + len(k) + len(v)
	}
	for i := range a.passwords {
		p := &a.passwords[i]
		size += 400 + len(p.ref.Name) + len(p.profile) + len(p.pin) + 32*len(p.methods) + 160*(len(p.material)+len(p.previous))
		for _, s := range p.services {
			size += 32 + len(s)
		}
	}
	for _, g := range a.tags {
		size += 48 + 32*len(g.tags)
	}
	return size
}

// inScope says whether p may be used for service; the profile as it is now can
// only narrow what the app password was created with.
func (p *password) inScope(policy *Policy, service string) bool {
	profile, ok := policy.Profiles[p.profile]
	return inScope(p.services, service) && (!ok || inScope(profile.Services, service))
}

// hasMethod says whether p may be presented by method.
func (p *password) hasMethod(policy *Policy, method proof.Method) bool {
	profile, ok := policy.Profiles[p.profile]
	return slices.Contains(p.methods, method) && (!ok || slices.Contains(profile.Methods, method))
}

// toMillis and fromMillis map times to the stored form; the zero time is 0.
func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
