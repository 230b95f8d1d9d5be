package core

import (
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
)

// An account is what a sign-in needs to know of one account. It is shared by
// all who sign in and never changes, but for cached and doings; a change of the account makes a new one.
// It holds no secret but keyed tags and sealed material.
//
// All that most sign-ins read is in one piece of memory and fills few lines of the
// processor's cache; the texts, of which most are only passed on, are in another.
type account struct {
	name      string     // normalised
	short     shortName  // the same
	cached    cacheEntry // of the cache alone
	id        [16]byte
	twoStep   bool
	doings    *doings // of the activity alone, under its flushing; nil, or where it notes what happens
	tags      []tagGroup
	passwords []password
	dir       directory.Account

	asked    time.Time // when the directory said so
	revision store.Revision
	deleted  []deleted // remembered ones (rule A14)

	// few is where passwords and tags of most accounts are.
	few struct {
		group     [1]tagGroup
		tags      [fewPasswords]taggedText
		passwords [fewPasswords]password
	}
}

const fewPasswords = 3

// A shortName is a name that is not long, where it is compared, so that nothing is
// read of a text elsewhere.
type shortName struct {
	length uint8 // 0: it is too long
	octets [31]byte
}

func newShortName(name string) (s shortName) {
	if len(name) <= len(s.octets) {
		s.length = uint8(copy(s.octets[:], name))
	}
	return s
}

// isCalled says whether a is the account called name.
func (a *account) isCalled(name []byte) bool {
	if n := int(a.short.length); n > 0 {
		return string(a.short.octets[:n]) == string(name) // not a secret: names
	}
	return a.name == string(name)
}

type deleted struct {
	ref Ref
	at  int64 // Unix milliseconds
}

// A password is one app password as a sign-in needs it. Times are in Unix
// milliseconds, as they are stored; 0 is never.
type password struct {
	ref           Ref
	id            [8]byte
	scope         *scope
	since         int64 // made, or given its present text
	expires       int64
	used          int64 // last use that was noted (needsNote)
	previousUntil int64
	pinDevice     bool
	suspended     bool
	rare          *rare // nil for most
}

// A rare is what few app passwords have.
type rare struct {
	pin      string
	material sealedMaterial // of those that are not presented as clear text alone
	reply    []Reply
}

// A sealedMaterial is what methods need that cannot work from a tag.
type sealedMaterial struct {
	current  map[string][]byte // by method
	previous map[string][]byte // of the text before a rotation
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
	index int32 // into account.passwords or account.deleted
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
func newAccount(name string, dir directory.Account, rec *record.Account, rev store.Revision, asked time.Time, known *scopes) *account {
	a := &account{asked: asked, revision: rev, twoStep: dir.TwoStep == directory.On}
	a.cached.generation = rec.Generation
	mine := belongs(rec, dir)
	t := newTexts(name, dir, rec, mine)
	a.name, a.short, a.dir = t.add(name), newShortName(name), dir
	a.dir.ID = t.add(dir.ID)
	if a.dir.Name = a.name; dir.Name != name {
		a.dir.Name = t.add(dir.Name)
	}
	if !mine {
		return a
	}
	copy(a.id[:], rec.Id)
	if dir.TwoStep == directory.NotMine {
		a.twoStep = rec.TwoStep.GetOn()
	}
	a.passwords, a.tags = a.few.passwords[:0], a.few.group[:0]
	for i, p := range rec.AppPasswords {
		a.passwords = append(a.passwords, newPassword(p, known.of(p), t))
		a.addTag(p.Tag, ownerCurrent, int32(i))
		a.addTag(p.Previous, ownerPrevious, int32(i))
	}
	for i, d := range rec.Remembered {
		a.deleted = append(a.deleted, deleted{ref: t.ref(d.Id, d.Name), at: d.Deleted})
		a.addTag(d.Tag, ownerDeleted, int32(i))
	}
	return a
}

// texts puts the texts of an account into one piece of memory.
type texts struct{ all strings.Builder }

// newTexts makes room for all texts of an account.
func newTexts(name string, dir directory.Account, rec *record.Account, mine bool) *texts {
	t, n := &texts{}, len(name)+len(dir.ID)
	if dir.Name != name {
		n += len(dir.Name)
	}
	if mine {
		for _, p := range rec.AppPasswords {
			n += hex.EncodedLen(len(p.Id)) + len(p.Name) + len(p.Pin)
		}
		for _, d := range rec.Remembered {
			n += hex.EncodedLen(len(d.Id)) + len(d.Name)
		}
	}
	t.all.Grow(n)
	return t
}

// add returns a copy of text.
func (t *texts) add(text string) string {
	start := t.all.Len()
	t.all.WriteString(text)
	return t.all.String()[start:]
}

// ref names an app password.
func (t *texts) ref(id []byte, name string) Ref {
	var digits [16]byte
	start := t.all.Len()
	t.all.Write(hex.AppendEncode(digits[:0], id))
	return Ref{ID: t.all.String()[start:], Name: t.add(name)}
}

// belongs says whether rec holds the app passwords of the account that dir
// describes, and not those of one that had the name before.
func belongs(rec *record.Account, dir directory.Account) bool {
	return rec != nil && !rec.Removed && rec.DirectoryId == dir.ID
}

func newPassword(p *record.AppPassword, in *scope, t *texts) password {
	n := password{
		ref:           t.ref(p.Id, p.Name),
		scope:         in,
		since:         max(p.Created, p.Rotated),
		expires:       p.Expires,
		used:          p.Used,
		previousUntil: p.PreviousUntil,
		pinDevice:     p.PinDevice,
		suspended:     p.Suspended,
	}
	copy(n.id[:], p.Id)
	if p.Pin != "" || len(p.Material)+len(p.PreviousMaterial) > 0 || len(p.Reply) > 0 {
		n.rare = &rare{pin: t.add(p.Pin), material: sealedMaterial{current: p.Material, previous: p.PreviousMaterial}}
		for _, r := range p.Reply {
			n.rare.reply = append(n.rare.reply, Reply{Name: r.Name, Value: r.Value})
		}
	}
	return n
}

// pin returns the device that p is pinned to, or nothing.
func (p *password) pin() string {
	if p.rare == nil {
		return ""
	}
	return p.rare.pin
}

// replies returns the attributes of p, which must not be changed.
func (p *password) replies() []Reply {
	if p.rare == nil {
		return nil
	}
	return p.rare.reply
}

func (a *account) addTag(t *record.Tag, o owner, index int32) {
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
		g := tagGroup{key: key}
		if i == 0 {
			g.tags = a.few.tags[:0]
		}
		a.tags = append(a.tags, g)
	}
	a.tags[i].tags = append(a.tags[i].tags, text)
}

// forgotten says whether t is of a text that has been deleted for so long that
// it is not told from a stranger's any more (rule A14).
func (a *account) forgotten(t taggedText, now time.Time) bool {
	switch t.owner {
	case ownerDeleted:
		return now.After(fromMillis(a.deleted[t.index].at).Add(rememberFor))
	case ownerPrevious:
		return now.After(fromMillis(a.passwords[t.index].previousUntil).Add(rememberFor))
	}
	return false
}

// size estimates how many octets of memory a takes.
func (a *account) size() int {
	size := 900 + len(a.dir.ID) + 2*len(a.dir.Name) + 120*len(a.deleted) // passwords and tags in few are in that
	for _, g := range a.dir.Groups {
		size += 32 + len(g)
	}
	for k, v := range a.dir.Attributes {
		size += 64 + len(k) + len(v)
	}
	if n := len(a.passwords); n > fewPasswords {
		size += 120 * n
	}
	for i := range a.passwords {
		p := &a.passwords[i]
		size += 16 + len(p.ref.Name)
		if r := p.rare; r != nil {
			size += 200 + len(r.pin) + 160*(len(r.material.current)+len(r.material.previous))
		}
		for _, r := range p.replies() {
			size += 64 + len(r.Name) + len(r.Value)
		}
	}
	for i, g := range a.tags {
		if n := len(g.tags); i > 0 || n > fewPasswords {
			size += 48 + 32*n
		}
	}
	return size
}

// inScope says whether p may be used for service; the profile as it is now can
// only narrow what the app password was created with.
func (p *password) inScope(policy *Policy, service string) bool {
	profile, ok := policy.Profiles[p.scope.profile]
	return inScope(p.scope.services, service) && (!ok || inScope(profile.Services, service))
}

// hasMethod says whether p may be presented by method.
func (p *password) hasMethod(policy *Policy, method proof.Method) bool {
	profile, ok := policy.Profiles[p.scope.profile]
	return slices.Contains(p.scope.methods, method) && (!ok || slices.Contains(profile.Methods, method))
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
