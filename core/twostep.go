package core

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/secret"
)

const (
	recoveryCodes   = 10 // given when two-step verification is turned on
	recoveryLetters = 10 // 45 bits, for something that is throttled
	recoveryLabel   = "keywicket recovery\x00"

	// enrollFor is how long an enrolment waits for its confirmation.
	enrollFor = 24 * time.Hour

	// FirstName is the name of the first app password, where none is chosen.
	FirstName = "First app password"
)

// wrongCodes is how many wrong security codes of an account are looked at: one
// guess at six digits has three chances in a million, so five tries and then
// one every two minutes find a code within a year for less than one in a
// hundred who is attacked without a pause and has no alarm.
var wrongCodes = rate{burst: 5, perSecond: 1.0 / 120}

// A Confirmation is what an account is given when it turns two-step
// verification on. Its texts are nowhere else, and it prints and logs without them.
type Confirmation struct {
	First     *AppPassword // nil if it was given none (rule A5)
	FirstText secret.Text
	Recovery  []string // codes that work once each, where the app is lost
}

// String returns how many recovery codes there are, and none of them.
func (c Confirmation) String() string { return fmt.Sprintf("[%d recovery codes]", len(c.Recovery)) }

// Format implements fmt.Formatter for every verb.
func (c Confirmation) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue implements slog.LogValuer.
func (c Confirmation) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Enroll begins two-step verification: it returns the otpauth URI for the
// owner's authenticator app. Nothing changes until Confirm, also where it is
// on already and the owner has a new telephone.
func (e *Engine) Enroll(ctx context.Context, account string) (uri string, err error) {
	name, err := e.change(ctx, account, func(o owned) error {
		if o.dir.TwoStep != directory.NotMine {
			return errTwoStepElsewhere
		}
		key, err := e.random(totpSecret)
		if err != nil {
			return err
		}
		t := o.twoStepRecord()
		t.Pending, t.PendingSince = key, toMillis(e.clock.now())
		uri = totpURI(e.opt.Issuer, o.dir.Name, key)
		return nil
	})
	if err != nil {
		return "", err
	}
	e.record(ctx, Event{Kind: EventTwoStepEnrolled, Account: name})
	return uri, nil
}

var errTwoStepElsewhere = &Error{Op: "two-step", Kind: KindInvalid, Err: errors.New("the directory keeps two-step verification of this account itself; change it there")}

func (o owned) twoStepRecord() *record.TwoStep {
	if o.rec.TwoStep == nil {
		o.rec.TwoStep = &record.TwoStep{}
	}
	return o.rec.TwoStep
}

// Confirm ends an enrolment with a code of the authenticator app. In one write
// it turns two-step verification on, makes new recovery codes, and gives the
// account its first app password if it has none and the rules allow one.
func (e *Engine) Confirm(ctx context.Context, account, code string, first NewAppPassword) (Confirmation, error) {
	var c Confirmation
	name, err := e.withCode(ctx, account, func(o owned) error {
		c.FirstText.Wipe()
		c = Confirmation{}
		return e.confirm(ctx, o, code, first, &c)
	})
	if err != nil {
		c.FirstText.Wipe()
		return Confirmation{}, err
	}
	e.record(ctx, Event{Kind: EventTwoStepOn, Account: name})
	if c.First != nil {
		e.record(ctx, Event{Kind: EventCreated, Account: name, AppPassword: c.First.Ref, Detail: c.First.Profile})
	}
	return c, nil
}

func (e *Engine) confirm(ctx context.Context, o owned, code string, first NewAppPassword, c *Confirmation) error {
	t := o.rec.TwoStep
	if o.dir.TwoStep != directory.NotMine {
		return errTwoStepElsewhere
	}
	if len(t.GetPending()) == 0 || e.clock.now().Sub(fromMillis(t.PendingSince)) > enrollFor {
		return &Error{Op: "two-step", Kind: KindConflict, Err: errors.New("no enrolment waits for a code; begin with two-step enroll")}
	}
	// A step that was used with the secret before says nothing about this one.
	step, ok := totpStep(t.Pending, digitsOf(code), e.opt.Now(), 0)
	if !ok {
		return errWrongCode
	}
	t.On, t.Secret, t.LastStep, t.Pending, t.PendingSince = true, t.Pending, step, nil, 0
	t.Since = toMillis(e.clock.now())
	var err error
	if c.Recovery, t.Recovery, err = e.newRecoveryCodes(o.rec.Id); err != nil {
		return err
	}
	policy := e.policy.Load()
	if !policy.FirstOnEnroll || len(o.rec.AppPasswords) > 0 {
		return nil
	}
	if first.Name == "" {
		first.Name = FirstName
	}
	made, text, err := e.add(ctx, o, first)
	if KindOf(err) == KindDenied {
		return nil // app passwords are disallowed; two-step verification is not
	}
	c.First, c.FirstText = &made, text
	return err
}

var errWrongCode = &Error{Op: "two-step", Kind: KindDenied, Err: errors.New("the code is wrong or was used already; wait for the next one, and check the clocks of the telephone and of this server")}

// withCode is change for what a security code decides: wrong codes are
// throttled, and recorded.
func (e *Engine) withCode(ctx context.Context, account string, change func(o owned) error) (string, error) {
	name, err := NormalizeAccount(account)
	if err != nil {
		return "", err
	}
	if !e.codes.allow(name, wrongCodes) {
		return name, &Error{Op: "two-step", Kind: KindLimited, Err: errors.New("too many wrong codes; wait two minutes")}
	}
	name, err = e.change(ctx, account, change)
	if errors.Is(err, errWrongCode) {
		e.record(ctx, Event{Kind: EventCodeRefused, Account: name})
		return name, err
	}
	e.codes.giveBack(name) // the code was right, or not looked at
	return name, err
}

// TurnOffTwoStep turns two-step verification off, and lets the account's app
// passwords rest or deletes them, as the policy says (rule A6).
func (e *Engine) TurnOffTwoStep(ctx context.Context, account string) error {
	var gone []Ref
	name, err := e.change(ctx, account, func(o owned) error {
		if o.dir.TwoStep != directory.NotMine {
			return errTwoStepElsewhere
		}
		if !o.rec.TwoStep.GetOn() && len(o.rec.TwoStep.GetPending()) == 0 {
			return &Error{Op: "two-step", Kind: KindConflict, Err: errors.New("two-step verification is off already")}
		}
		wasOn := o.rec.TwoStep.GetOn()
		o.rec.TwoStep, gone = nil, nil
		if wasOn && e.policy.Load().OnTwoStepOff == Delete {
			gone = e.removeAll(o.rec)
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.record(ctx, Event{Kind: EventTwoStepOff, Account: name})
	e.recordEach(ctx, EventDeleted, name, gone)
	return nil
}

// CheckCode says whether code is a security code of the account: one of its
// authenticator app, or a recovery code. Either is used up by this, durably,
// before CheckCode returns. A wrong one is KindDenied.
func (e *Engine) CheckCode(ctx context.Context, account, code string) error {
	recovery := false
	name, err := e.withCode(ctx, account, func(o owned) error {
		if o.dir.TwoStep != directory.NotMine {
			return e.checkElsewhere(ctx, o, code)
		}
		t := o.rec.TwoStep
		if !t.GetOn() {
			return &Error{Op: "two-step", Kind: KindConflict, Err: errors.New("two-step verification is off for this account")}
		}
		if step, ok := totpStep(t.Secret, digitsOf(code), e.opt.Now(), t.LastStep); ok {
			t.LastStep = step
			return nil
		}
		if i := e.findRecovery(o.rec, code); i >= 0 {
			t.Recovery = slices.Delete(t.Recovery, i, i+1)
			recovery = true
			return nil
		}
		return errWrongCode
	})
	if err != nil && !errors.Is(err, errNoChange) {
		return err
	}
	ev := Event{Kind: EventCodeUsed, Account: name}
	if recovery {
		ev.Detail = "recovery code"
	}
	e.record(ctx, ev)
	return nil
}

// checkElsewhere asks the directory that keeps two-step verification itself.
func (e *Engine) checkElsewhere(ctx context.Context, o owned, code string) error {
	d, ok := e.directory.(directory.CodeVerifier)
	if !ok {
		return errTwoStepElsewhere
	}
	err := directoryError("two-step", d.VerifyCode(ctx, o.name, code))
	switch KindOf(err) {
	case 0:
		return errNoChange
	case KindDenied:
		return errWrongCode
	}
	return err
}

// digitsOf returns code without the spaces that people type.
func digitsOf(code string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '\u00a0' {
			return -1
		}
		return r
	}, code)
}

// newRecoveryCodes returns fresh codes as they are shown, and their tags.
func (e *Engine) newRecoveryCodes(account []byte) ([]string, []*record.Tag, error) {
	var texts []string
	var tags []*record.Tag
	for range recoveryCodes {
		text, err := secret.Generate(e.opt.Rand, secret.Standard)
		if err != nil {
			return nil, nil, &Error{Op: "two-step", Kind: KindInternal, Err: err}
		}
		code := text.Canonical()[:recoveryLetters]
		text.Wipe()
		inner := recoveryHash(account, code)
		tags = append(tags, e.tag(inner[:]))
		texts = append(texts, code[:recoveryLetters/2]+"-"+code[recoveryLetters/2:])
	}
	return texts, tags, nil
}

func recoveryHash(account []byte, code string) [sha256.Size]byte {
	return sha256.Sum256([]byte(recoveryLabel + string(account) + code))
}

// findRecovery returns the index of the recovery code, or -1.
func (e *Engine) findRecovery(rec *record.Account, typed string) int {
	code := strings.ToLower(digitsOf(typed))
	if len(code) != recoveryLetters {
		return -1
	}
	inner, found := recoveryHash(rec.Id, code), -1
	for i, t := range rec.TwoStep.Recovery {
		var key keyring.KeyID
		copy(key[:], t.Key)
		tag, ok := e.keys.Tag(key, inner[:])
		if ok && subtle.ConstantTimeCompare(tag[:], t.Tag) == 1 {
			found = i
		}
	}
	return found
}
