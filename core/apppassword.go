package core

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
)

// A Status says whether an app password works, and if not, why. The texts are
// fixed: programs outside of the project read them.
type Status string

const (
	StatusActive        Status = "active"
	StatusSuspended     Status = "suspended" // by itself, or with its account
	StatusExpired       Status = "expired"
	StatusUnusedExpired Status = "unused-expired"
	StatusDenied        Status = "denied" // disallowed by the administrator
)

// An AppPassword is what can be said of an app password. Its text is not among
// it: that exists once, in the answer that made it.
type AppPassword struct {
	Ref
	Profile  string
	Letters  int
	Services []string
	Methods  []proof.Method
	Pin      string // the device it is pinned to; empty if none or not yet
	Pinned   bool   // it is pinned to the first device that uses it
	Created  time.Time
	Rotated  time.Time // zero: never
	Expires  time.Time // zero: never
	Reply    []Reply   // in the answer of a grant, beside the profile's
	Status   Status
	LastUse  *Use // nil: never used
	Uses     uint64
}

// A NewAppPassword is what its owner chooses of an app password.
type NewAppPassword struct {
	Name    string    // required; 1 to MaxName characters
	Profile string    // empty: DefaultProfile
	Expires time.Time // zero: as the profile says
	Reply   []Reply   // only an administrator chooses these; at most maxReplies
}

// A Reply is an attribute that a bridge puts into the answer of a grant, as the
// administrator writes it: "Tunnel-Private-Group-Id", "42".
type Reply struct {
	Name  string
	Value string
}

// Bounds of the attributes of one app password: 40 of them and much else stand
// in one record.
const (
	maxReplies     = 8
	maxReplyOctets = 1024 // names and values together
)

// checkReplies says what is wrong with attributes that an app password shall get.
func (p *Policy) checkReplies(all []Reply) error {
	if len(all) > maxReplies {
		return invalid("create", "%d reply attributes; an app password has at most %d, and a profile any number", len(all), maxReplies)
	}
	octets := 0
	for _, r := range all {
		octets += len(r.Name) + len(r.Value)
		if p.CheckReply == nil {
			return invalid("create", "no reply attributes are known here")
		}
		if err := p.CheckReply(r); err != nil {
			return invalid("create", "reply: %w", err)
		}
	}
	if octets > maxReplyOctets {
		return invalid("create", "reply attributes of %d octets; an app password has at most %d", octets, maxReplyOctets)
	}
	return nil
}

// Create makes an app password for the account. Its text is nowhere else than
// in the answer. The error is KindDenied where a rule forbids it and
// KindConflict where the name is taken or the limit is reached (rules A2 to
// A4, A7).
func (e *Engine) Create(ctx context.Context, account string, n NewAppPassword) (AppPassword, secret.Text, error) {
	var made AppPassword
	var text secret.Text
	name, err := e.change(ctx, account, func(o owned) (err error) {
		made, text, err = e.add(ctx, o, n)
		return err
	})
	if err != nil {
		text.Wipe()
		return AppPassword{}, secret.Text{}, err
	}
	e.record(ctx, Event{Kind: EventCreated, Account: name, AppPassword: made.Ref, Detail: made.Profile})
	return made, text, nil
}

// add puts a new app password into the record of o.
func (e *Engine) add(ctx context.Context, o owned, n NewAppPassword) (AppPassword, secret.Text, error) {
	none := func(err error) (AppPassword, secret.Text, error) { return AppPassword{}, secret.Text{}, err }
	policy := e.policy.Load()
	profile, err := policy.profileFor(&n, o)
	if err != nil {
		return none(err)
	}
	if n.Name, err = cleanName(n.Name); err != nil {
		return none(err)
	}
	if err := policy.checkReplies(n.Reply); err != nil {
		return none(err)
	}
	if err := e.hasRoom(ctx, policy, o, n.Name); err != nil {
		return none(err)
	}
	now := e.clock.now()
	if n.Expires.IsZero() && profile.ExpiresAfter > 0 {
		n.Expires = now.Add(profile.ExpiresAfter)
	}
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		if n.Expires.After(e.opt.Now()) {
			return none(invalid("create", "it would expire at %s, and it was %s already: the clock of this host is behind, and expiry goes by the latest time that was seen", n.Expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
		}
		return none(invalid("create", "it would expire at %s, which is not in the future", n.Expires.Format(time.RFC3339)))
	}
	id, err := e.random(8)
	if err != nil {
		return none(err)
	}
	text, err := secret.Generate(e.opt.Rand, profile.Letters)
	if err != nil {
		return none(&Error{Op: "create", Kind: KindInternal, Err: err})
	}
	p := &record.AppPassword{
		Id: id, Name: n.Name, Profile: n.Profile, Services: slices.Clone(profile.Services),
		PinDevice: profile.PinDevice, Created: toMillis(now), Expires: toMillis(n.Expires),
	}
	for _, m := range profile.Methods {
		p.Methods = append(p.Methods, string(m))
	}
	for _, r := range n.Reply {
		p.Reply = append(p.Reply, &record.Reply{Name: r.Name, Value: r.Value})
	}
	e.setText(o.rec, p, &text)
	o.rec.AppPasswords = append(o.rec.AppPasswords, p)
	return e.describe(policy, o, p, nil), text, nil
}

// profileFor returns the profile that n asks for, if the rules let o have it.
func (p *Policy) profileFor(n *NewAppPassword, o owned) (Profile, error) {
	if n.Profile == "" {
		n.Profile = DefaultProfile
	}
	profile, ok := p.Profiles[n.Profile]
	switch {
	case !ok:
		return profile, invalid("create", "there is no profile %q; there are: %s", shown(n.Profile), strings.Join(p.profileNames(), ", "))
	case p.denies(o.dir.Groups) || profile.Deny:
		return profile, denied("create", "app passwords are disallowed for %s with profile %q by the administrator", o.name, n.Profile)
	case !o.dir.Enabled:
		return profile, denied("create", "the account %s is disabled; enable it first", o.name)
	case p.RequireTwoStep && !o.twoStep():
		return profile, denied("create", "two-step verification is off for %s; turn it on first, with two-step enroll and two-step confirm", o.name)
	}
	return profile, nil
}

func (p *Policy) profileNames() []string {
	var names []string
	for name := range p.Profiles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func denied(op, format string, args ...any) error {
	return &Error{Op: op, Kind: KindDenied, Err: fmt.Errorf(format, args...)}
}

// hasRoom says whether o may have one more app password, of this name.
func (e *Engine) hasRoom(ctx context.Context, policy *Policy, o owned, name string) error {
	for _, p := range o.rec.AppPasswords {
		if sameName(p.Name, name) {
			return &Error{Op: "create", Kind: KindConflict, Err: fmt.Errorf("%s has an app password named %q already; choose another name, or delete that one", o.name, p.Name)}
		}
	}
	if len(o.rec.AppPasswords) < policy.Limit {
		return nil
	}
	unused, err := e.longestUnused(ctx, policy, o, 3)
	if err != nil {
		return err
	}
	return &Error{Op: "create", Kind: KindConflict, Err: &LimitError{Account: o.name, Have: len(o.rec.AppPasswords), Limit: policy.Limit, Unused: unused}}
}

// A LimitError refuses one app password more than the limit (rule A3).
type LimitError struct {
	Account string
	Have    int // more than Limit where that was lowered
	Limit   int
	Unused  []AppPassword // the longest unused, as the ones to delete
}

// limitText says how many app passwords an account has against the limit.
func limitText(have, limit int) string {
	if have == limit {
		return "which is the limit"
	}
	return fmt.Sprintf("and the limit is %d", limit)
}

func (e *LimitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d app passwords, %s; delete %d first. Longest unused:", e.Account, e.Have, limitText(e.Have, e.Limit), e.Have-e.Limit+1)
	for _, p := range e.Unused {
		since := "never used, created " + p.Created.Format(time.DateOnly)
		if p.LastUse != nil {
			since = "last used " + p.LastUse.Time.Format(time.DateOnly)
		}
		fmt.Fprintf(&b, "\n  %s  %q, %s", p.ID, p.Name, since)
	}
	return b.String()
}

func (e *Engine) longestUnused(ctx context.Context, policy *Policy, o owned, n int) ([]AppPassword, error) {
	all, err := e.describeAll(ctx, policy, o)
	if err != nil {
		return nil, err
	}
	last := func(p AppPassword) time.Time {
		if p.LastUse != nil {
			return p.LastUse.Time
		}
		return p.Created
	}
	slices.SortStableFunc(all, func(a, b AppPassword) int { return last(a).Compare(last(b)) })
	return all[:min(n, len(all))], nil
}

// setText gives p its text: the tag, and the sealed material of its methods.
func (e *Engine) setText(rec *record.Account, p *record.AppPassword, text *secret.Text) {
	var account [16]byte
	copy(account[:], rec.Id)
	p.Letters = uint32(text.Letters())
	inner := innerHash(account, text)
	p.Tag = e.tag(inner[:])
	clear(inner[:])
	p.Material = nil
	for _, m := range p.Methods {
		material := proof.Material(proof.Method(m), text.Canonical())
		if material == nil {
			continue
		}
		if p.Material == nil {
			p.Material = make(map[string][]byte)
		}
		p.Material[m] = e.keys.Seal("material", materialKey(rec.Id, p.Id, m, p.Services), material)
		clear(material)
	}
}

// tag returns the tag of an inner hash under the newest key.
func (e *Engine) tag(inner []byte) *record.Tag {
	key := e.keys.Newest()
	tag, _ := e.keys.Tag(key, inner) // the newest key is in the ring
	return &record.Tag{Key: key[:], Tag: tag[:], Inner: e.keys.Seal("inner", hex.EncodeToString(tag[:]), inner)}
}

// materialKey binds sealed material to its account, app password, method and
// scope: moved to another it does not open. Its form is part of what is stored.
func materialKey(account, id []byte, method string, services []string) string {
	b := hex.AppendEncode(make([]byte, 0, 128), account)
	b = hex.AppendEncode(append(b, '/'), id)
	b = append(b, '/')
	b = append(b, method...)
	b = append(b, "/["...)
	for i, service := range services {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendQuote(b, service)
	}
	return string(append(b, ']'))
}

func (e *Engine) openMaterial(a *account, c candidate, m proof.Method) ([]byte, error) {
	return e.keys.Open("material", materialKey(a.id[:], c.password.id[:], string(m), c.password.scope.services), c.sealed)
}

// List returns the account's app passwords in the order of their creation.
func (e *Engine) List(ctx context.Context, account string) ([]AppPassword, error) {
	o, err := e.owned(ctx, account)
	if err != nil {
		return nil, err
	}
	return e.describeAll(ctx, e.policy.Load(), o)
}

// owned reads what the directory and the store say of an account now.
func (e *Engine) owned(ctx context.Context, account string) (owned, error) {
	name, err := NormalizeAccount(account)
	if err != nil {
		return owned{}, err
	}
	dir, err := e.known(ctx, name)
	if err != nil {
		return owned{}, err
	}
	return e.ownedBy(ctx, name, dir)
}

func (e *Engine) describeAll(ctx context.Context, policy *Policy, o owned) ([]AppPassword, error) {
	uses, err := e.usesOf(ctx, o.name)
	if err != nil {
		return nil, err
	}
	all := make([]AppPassword, 0, len(o.rec.AppPasswords))
	for _, p := range o.rec.AppPasswords {
		all = append(all, e.describe(policy, o, p, uses[hex.EncodeToString(p.Id)]))
	}
	slices.SortStableFunc(all, func(a, b AppPassword) int { return cmp.Compare(a.Created.UnixMilli(), b.Created.UnixMilli()) })
	return all, nil
}

// usesOf returns the last uses of the account's app passwords by their ids.
func (e *Engine) usesOf(ctx context.Context, name string) (map[string]*record.Usage, error) {
	happened, err := e.activityOf(ctx, name)
	if err != nil {
		return nil, err
	}
	uses := make(map[string]*record.Usage, len(happened.Usages))
	for _, u := range happened.Usages {
		uses[u.Id] = u
	}
	return uses, nil
}

// describe returns what can be said of p; u is nil if it was never used.
func (e *Engine) describe(policy *Policy, o owned, p *record.AppPassword, u *record.Usage) AppPassword {
	in := newScope(p)
	n := newPassword(p, in, &texts{})
	d := AppPassword{
		Ref: n.ref, Profile: in.profile, Letters: int(p.Letters), Services: in.services, Methods: in.methods,
		Pin: n.pin(), Pinned: n.pinDevice, Reply: n.replies(), Created: fromMillis(p.Created), Rotated: fromMillis(p.Rotated), Expires: fromMillis(n.expires),
	}
	used := fromMillis(n.used)
	if u != nil {
		last := fromRecord(u.Last)
		d.LastUse = &Use{Time: last.Time, Service: last.Service, Source: last.Source, Device: last.Device, Method: last.Method}
		d.Uses = u.Count
		used = last.Time
	}
	now := e.clock.now()
	switch {
	case policy.denies(o.dir.Groups) || policy.Profiles[in.profile].Deny:
		d.Status = StatusDenied
	case n.expired(now):
		d.Status = StatusExpired
	case n.disused(policy, now, used):
		d.Status = StatusUnusedExpired
	case n.suspended || !o.dir.Enabled || (policy.RequireTwoStep && !o.twoStep()):
		d.Status = StatusSuspended
	default:
		d.Status = StatusActive
	}
	return d
}
