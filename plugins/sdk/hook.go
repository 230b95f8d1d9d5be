package sdk

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// A Guard is a hook that is asked before somebody is let in. Methods may be
// called from many goroutines.
type Guard interface {
	// Check is asked after a proof was found right, and decides within 2
	// seconds. An error is no decision: nobody is let in, and nobody is turned
	// away.
	Check(ctx context.Context, s SignIn) (Answer, error)
}

// An Observer is a hook that is told what happened: in batches, a little
// later, each event once or not at all.
type Observer interface {
	Observe(ctx context.Context, events []Event) error
}

// A SignIn is an attempt whose proof was right.
type SignIn struct {
	Account     string // the canonical name
	Groups      []string
	AppPassword AppPassword // an empty ID: the main password was used
	Profile     string
	Service     string // where: "radius/vpn1"
	Source      string // the address that asked
	Device      string // such as a Calling-Station-Id
	Method      string // "cleartext", "chap" or "mschapv2"
	Time        time.Time
}

// An Answer is what a Guard decided. The zero Answer refuses.
type Answer struct {
	Allow bool
	Text  string      // why not, for the administrator: up to 256 octets
	Reply []Attribute // added to the answer, up to 64
}

// An Attribute is a RADIUS attribute as in a profile's reply table:
// "Tunnel-Private-Group-Id", "42".
type Attribute struct {
	Name  string
	Value string
}

// An Event is something that happened at an account, with the words of the
// audit.
type Event struct {
	Time        time.Time
	Kind        string // "attempt", "app-password-created", …
	Actor       string
	Account     string
	AppPassword AppPassword
	Service     string
	Source      string
	Device      string
	Method      string
	Result      string // of an attempt: "granted" or "refused"
	Reason      string // of one that was refused
	Detail      string
}

// checkHook says why h is not the hook that it was meant for.
func checkHook(h any) error {
	_, guards := h.(Guard)
	_, observes := h.(Observer)
	for _, part := range []struct {
		is             bool
		method, wanted string
	}{{guards, "Check", "sdk.Guard"}, {observes, "Observe", "sdk.Observer"}} {
		if part.is || h == nil {
			continue
		}
		t := reflect.TypeOf(h)
		if _, has := t.MethodByName(part.method); has {
			return fmt.Errorf("%T has a method %s, but it is not that of %s: see what it takes and returns", h, part.method, part.wanted)
		}
		if _, has := reflect.PointerTo(t).MethodByName(part.method); has {
			return fmt.Errorf("%T has no method %s, and a pointer to it has: hand the pointer to ServeHook", h, part.method)
		}
	}
	if !guards && !observes {
		return fmt.Errorf("%T is neither an sdk.Guard nor an sdk.Observer, so this hook would never be asked", h)
	}
	return nil
}

type hookServer struct {
	pluginv1.UnimplementedHookServer
	hook any
}

func (s *hookServer) Check(ctx context.Context, req *pluginv1.CheckRequest) (*pluginv1.CheckResponse, error) {
	g, ok := s.hook.(Guard)
	if !ok {
		return s.UnimplementedHookServer.Check(ctx, req)
	}
	a, err := g.Check(ctx, SignIn{
		Account: req.Account, Groups: req.Groups, AppPassword: appPassword(req.AppPassword), Profile: req.Profile,
		Service: req.Service, Source: req.Source, Device: req.Device, Method: req.Method, Time: req.Time.AsTime(),
	})
	if err != nil {
		return nil, wire.StoreStatus(unavailable(err))
	}
	r := &pluginv1.CheckResponse{Account: req.Account, Decision: pluginv1.Decision_DECISION_REFUSE, Text: wire.Text(a.Text)}
	if a.Allow {
		r.Decision = pluginv1.Decision_DECISION_ALLOW
	}
	for _, attribute := range a.Reply {
		r.Reply = append(r.Reply, &pluginv1.ReplyAttribute{Name: attribute.Name, Value: attribute.Value})
	}
	return r, nil
}

func (s *hookServer) Events(ctx context.Context, req *pluginv1.EventsRequest) (*pluginv1.EventsResponse, error) {
	o, ok := s.hook.(Observer)
	if !ok {
		return s.UnimplementedHookServer.Events(ctx, req)
	}
	events := make([]Event, 0, len(req.Events))
	for _, e := range req.Events {
		events = append(events, Event{
			Time: e.Time.AsTime(), Kind: e.Kind, Actor: e.Actor, Account: e.Account, AppPassword: appPassword(e.AppPassword),
			Service: e.Service, Source: e.Source, Device: e.Device, Method: e.Method, Result: e.Result, Reason: e.Reason, Detail: e.Detail,
		})
	}
	if err := o.Observe(ctx, events); err != nil {
		return nil, wire.StoreStatus(unavailable(err))
	}
	return &pluginv1.EventsResponse{}, nil
}
