package pluginhost

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

const (
	maxReplies    = 64
	maxReplyText  = 253 // of a RADIUS attribute
	maxRefusal    = 256
	eventsWaiting = 10_000 // in the queue of a hook
	eventsAtOnce  = 200    // in a batch
)

// A Hook is asked before a grant, and told of what happened.
type Hook struct {
	p     *plugged
	queue chan sdk.Event
}

// Hook returns the hook that a plugin is.
func (h *Host) Hook(name string) (*Hook, error) {
	p, err := h.pick(name, KindHook)
	if err != nil {
		return nil, err
	}
	hook := &Hook{p: p, queue: make(chan sdk.Event, eventsWaiting)}
	h.done.Go(hook.work)
	return hook, nil
}

// Check asks the plugin about one sign-in. An error wraps store.ErrUnavailable:
// there is no answer. A plugin that is no guard has nothing against it.
func (h *Hook) Check(ctx context.Context, s sdk.SignIn) (sdk.Answer, error) {
	req := &pluginv1.CheckRequest{
		Account: valid(s.Account), Groups: s.Groups, AppPassword: appPassword(s.AppPassword), Profile: s.Profile, Service: valid(s.Service),
		Source: valid(s.Source), Device: valid(s.Device), Method: s.Method, Time: timestamppb.New(s.Time),
	}
	var answer sdk.Answer
	err := h.p.do(ctx, call{"Check", true, func(ctx context.Context, on *instance, a *answered) error {
		if !on.can(pluginv1.Capability_CAPABILITY_CHECK) {
			answer = sdk.Answer{Allow: true}
			return nil
		}
		r, err := pluginv1.NewHookClient(on.conn).Check(ctx, req, a.options()...)
		if err != nil {
			return err
		}
		answer, err = answerOf(req, r)
		return err
	}})
	var gone errGone
	switch {
	case err == nil:
		return answer, nil
	case errors.As(err, &gone):
		return sdk.Answer{}, err
	}
	return sdk.Answer{}, h.p.gone(wire.StoreError(err)) // whatever it says, it did not decide
}

// answerOf returns what a plugin decided, if it can be a decision.
func answerOf(req *pluginv1.CheckRequest, r *pluginv1.CheckResponse) (sdk.Answer, error) {
	a := sdk.Answer{Text: r.Text}
	switch {
	case r.Account != req.Account:
		return a, wrong("asked for %q, it answers for %q", req.Account, r.Account)
	case r.Decision != pluginv1.Decision_DECISION_ALLOW && r.Decision != pluginv1.Decision_DECISION_REFUSE:
		return a, wrong("the decision %d", r.Decision)
	case len(r.Text) > maxRefusal:
		return a, wrong("a text of %d octets", len(r.Text))
	case len(r.Reply) > maxReplies:
		return a, wrong("%d reply attributes", len(r.Reply))
	}
	for _, attribute := range r.Reply {
		if attribute.Name == "" || len(attribute.Name) > maxReplyText || len(attribute.Value) > maxReplyText {
			return a, wrong("a reply attribute with a name of %d octets and a value of %d", len(attribute.Name), len(attribute.Value))
		}
		a.Reply = append(a.Reply, sdk.Attribute{Name: attribute.Name, Value: attribute.Value})
	}
	a.Allow = r.Decision == pluginv1.Decision_DECISION_ALLOW
	return a, nil
}

// Send queues an event, and never waits. It is false where there is no room.
func (h *Hook) Send(e sdk.Event) bool {
	select {
	case h.queue <- e:
		return true
	default:
		h.p.fault("Events", errors.New("too many events wait; one is dropped"))
		return false
	}
}

// work sends what is in the queue, as much as there is at a time.
func (h *Hook) work() {
	for {
		var batch []sdk.Event
		select {
		case <-h.p.done:
			return
		case e := <-h.queue:
			batch = append(batch, e)
		}
		for more := true; more && len(batch) < eventsAtOnce; {
			select {
			case e := <-h.queue:
				batch = append(batch, e)
			default:
				more = false
			}
		}
		if err := h.Observe(context.Background(), batch); err != nil {
			h.p.fault("Events", err)
			select {
			case <-h.p.done:
			case <-time.After(rewatch): // so long the queue takes what comes
			}
		}
	}
}

// Observe tells the plugin of events now. One that is no observer is not told.
func (h *Hook) Observe(ctx context.Context, events []sdk.Event) error {
	if on := h.p.now(); on != nil && !on.can(pluginv1.Capability_CAPABILITY_EVENTS) {
		return nil
	}
	req := &pluginv1.EventsRequest{}
	for _, e := range events {
		req.Events = append(req.Events, &pluginv1.Event{
			Time: timestamppb.New(e.Time), Kind: valid(e.Kind), Actor: valid(e.Actor), Account: valid(e.Account), AppPassword: appPassword(e.AppPassword),
			Service: valid(e.Service), Source: valid(e.Source), Device: valid(e.Device), Method: valid(e.Method), Result: valid(e.Result),
			Reason: valid(e.Reason), Detail: valid(e.Detail),
		})
	}
	return storeError(h.p.do(ctx, call{"Events", false, func(ctx context.Context, on *instance, a *answered) error {
		if !on.can(pluginv1.Capability_CAPABILITY_EVENTS) {
			return nil
		}
		_, err := pluginv1.NewHookClient(on.conn).Events(ctx, req, a.options()...)
		return err
	}}))
}

// appPassword is p as it travels: none is absent.
func appPassword(p sdk.AppPassword) *pluginv1.AppPassword {
	if p.ID == "" && p.Name == "" {
		return nil
	}
	return &pluginv1.AppPassword{Id: valid(p.ID), Name: valid(p.Name)}
}

// valid makes a text that came from outside one that can travel.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
