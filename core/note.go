package core

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/keywicket/keywicket/core/proof"
)

// recordAttempt notes a decided attempt and tells the Recorder.
func (e *Engine) recordAttempt(a Attempt, v verdict) error {
	v.now = e.clock.now()
	return e.note(&a, methodOf(a.Proof), &v)
}

// note is recordAttempt of an attempt by m, whatever its Proof is.
func (e *Engine) note(a *Attempt, m proof.Method, v *verdict) error {
	h := happened{
		at: v.now, service: a.Service, source: e.sources.text(a.Source), device: a.Device,
		method: m, reason: v.reason, ref: v.ref,
	}
	name := v.name
	if name == "" {
		name = a.Account
	}
	if v.account == nil { // what the directory knows is no secret
		name = shown(name)
	}
	if e.opt.Recorder != nil {
		err := e.opt.Recorder.Record(Event{
			Time: h.at, Kind: EventAttempt, Account: name, AppPassword: h.ref, Service: h.service,
			Source: h.source, Device: h.device, Method: h.method, Reason: h.reason, Detail: v.detail,
		})
		if err != nil {
			h.reason = ReasonUnavailable
			e.activity.add(attemptAt{name, v.account, h})
			return err
		}
	}
	e.activity.add(attemptAt{name, v.account, h})
	if v.reason == ReasonTamper {
		e.recordTamper(name, v.err)
	}
	return nil
}

// sources keep the texts of the addresses that ask, which are few.
type sources [256]atomic.Pointer[sourceText]

type sourceText struct {
	addr netip.Addr
	text string
}

// text returns a as text; nothing for the zero Addr.
func (s *sources) text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	octets := a.As16()
	at := &s[octets[15]]
	known := at.Load()
	if known == nil || known.addr != a {
		known = &sourceText{a, a.String()}
		at.Store(known)
	}
	return known.text
}

func (e *Engine) recordTamper(name string, cause error) {
	e.log.Error("a record was changed or damaged outside of Keywicket", "account", name, "err", cause)
	e.record(context.Background(), Event{Kind: EventTamper, Account: name, Detail: cause.Error()})
}

// record tells the Recorder of an event that is no attempt.
func (e *Engine) record(ctx context.Context, ev Event) {
	ev.Time, ev.Actor = e.opt.Now(), ActorOf(ctx)
	if e.opt.Recorder == nil {
		return
	}
	if err := e.opt.Recorder.Record(ev); err != nil {
		e.log.Error("an event could not be recorded", "event", ev.Kind, "account", ev.Account, "err", err)
	}
}
