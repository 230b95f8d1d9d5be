package core

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// A Guard is asked about an attempt whose proof was found right, before it is
// granted. It can refuse the grant or add to the answer; it can grant nothing.
type Guard interface {
	// Asks says whether anybody would be asked. While it is false a right proof is
	// granted without Check.
	Asks() bool

	// Check decides within the time that ctx has. An error is an inability: the
	// attempt ends as ReasonUnavailable.
	Check(ctx context.Context, a Attempt, g Grant) (Admission, error)
}

// An Admission is what a Guard decided. The zero Admission refuses.
type Admission struct {
	Allow bool
	Text  string  // why not, for the administrator
	Reply []Reply // added to the answer
}

// maxDetail bounds what the audit keeps of a text that is not of the engine, in octets.
const maxDetail = 256

func shortDetail(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxDetail)], "")
}

var errGuardAway = errors.New("a hook did not decide")

// guards says whether there is a Guard to ask.
func (e *Engine) guards() bool { return e.opt.Guard != nil && e.opt.Guard.Asks() }

// guarded asks the Guard about an attempt that would be granted, and returns why it
// is not.
func (e *Engine) guarded(ctx context.Context, a Attempt, v *verdict) Reason {
	admission, err := e.opt.Guard.Check(ctx, a, v.grant())
	switch {
	case err != nil:
		return v.unable(errors.Join(errGuardAway, err))
	case !admission.Allow:
		v.detail = shortDetail(admission.Text)
		return ReasonRefusedByHook
	}
	v.reply = admission.Reply
	return e.decideAgain(ctx, a, v)
}

// decideAgain decides once more where the account changed while a Guard was asked,
// which may take seconds: what was deleted meanwhile does not work any more (rule A8).
func (e *Engine) decideAgain(ctx context.Context, a Attempt, v *verdict) Reason {
	if now, err := e.lookup(ctx, v.name); err == nil && now == v.account {
		return ""
	}
	again := e.decide(ctx, &a)
	defer clear(again.material)
	if v.match != nil && again.reason == ReasonWrong || again.reason == ReasonMethodNotEnabled {
		return ReasonDeleted // it was right a moment ago
	}
	v.err = again.err
	return again.reason
}

// grant is what v grants, without a session.
func (v *verdict) grant() Grant {
	g := Grant{Account: v.account.dir.Name, Groups: v.account.dir.Groups, AppPassword: v.ref, Reply: v.reply}
	if v.match == nil {
		return g
	}
	g.Profile = v.match.scope.profile
	own := v.match.replies()
	if len(v.reply) == 0 {
		g.Reply = own
		return g
	}
	g.Reply = slices.Clone(v.reply)
	for _, r := range own {
		if !slices.ContainsFunc(v.reply, func(added Reply) bool { return strings.EqualFold(added.Name, r.Name) }) {
			g.Reply = append(g.Reply, r)
		}
	}
	return g
}
