package core

import (
	"context"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

// decideTrial tries a response to a challenge against the app passwords that
// fit, and does the work of MaxLimit trials whatever it finds.
func (e *Engine) decideTrial(ctx context.Context, policy *Policy, a *Attempt, v *verdict, trial proof.Trial) Reason {
	ended := e.findAccount(ctx, v)
	var fitting []candidate
	if v.account != nil {
		fitting = v.account.candidates(policy, a.Service, trial.Method(), e.clock.now())
	}
	e.tryAll(v, fitting, trial)
	switch {
	case ended != "":
		return ended
	case v.match != nil:
		return e.decideMatch(ctx, policy, a, trial.Method(), v)
	case len(fitting) == 0:
		return ReasonMethodNotEnabled
	}
	return ReasonWrong
}

// dummyText stands for the app passwords that an account does not have. It is
// known to everybody, so what it gives is no match.
const dummyText = "aaaaaaaaaaaaaaaaaaaa"

// tryAll opens and tries every candidate, and after them a dummy until it has
// done so MaxLimit times: how long it takes says neither whether there is an
// account nor how many app passwords it has. The first match counts.
func (e *Engine) tryAll(v *verdict, fitting []candidate, trial proof.Trial) {
	m := trial.Method()
	dummy := proof.Material(m, dummyText)
	nobody, none := &account{}, candidate{password: &password{scope: &scope{services: []string{"*"}}}}
	none.sealed = e.keys.Seal("material", materialKey(nobody.id[:], none.password.id[:], string(m), none.password.scope.services), dummy)
	for i := range max(MaxLimit, len(fitting)) {
		if i >= len(fitting) {
			material, err := e.openMaterial(nobody, none, m)
			if err != nil {
				material = dummy
			}
			trial.Try(material)
			continue
		}
		material, err := e.openMaterial(v.account, fitting[i], m)
		if err != nil {
			trial.Try(dummy)
			continue
		}
		if trial.Try(material) && v.match == nil {
			v.match, v.ref, v.material = fitting[i].password, fitting[i].password.ref, material
			continue
		}
		clear(material)
	}
}

// A candidate is material that a response is tried against.
type candidate struct {
	password *password
	sealed   []byte
}

// candidates returns the material of the app passwords that fit: also of the
// text before a rotation, while that works.
func (a *account) candidates(policy *Policy, service string, m proof.Method, now time.Time) []candidate {
	fitting := make([]candidate, 0, MaxLimit)
	for i := range a.passwords {
		p := &a.passwords[i]
		if p.rare == nil || !p.hasMethod(policy, m) || !p.inScope(policy, service) {
			continue
		}
		if sealed := p.rare.material.current[string(m)]; sealed != nil {
			fitting = append(fitting, candidate{p, sealed})
		}
		if sealed := p.rare.material.previous[string(m)]; sealed != nil && now.UnixMilli() < p.previousUntil {
			fitting = append(fitting, candidate{p, sealed})
		}
	}
	return fitting
}
