package sdk

import (
	"context"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// A NoticeKind says what a notice is about. There may be more than these:
// leave those that you do not know alone.
type NoticeKind uint8

const (
	_                NoticeKind = iota
	NoticeCreated               // an app password was created
	NoticeDeleted               // one was deleted
	NoticeFirstUse              // one was used for the first time, or from a place for the first time
	NoticeTwoStepOn             // two-step verification was turned on
	NoticeTwoStepOff            // it was turned off
	NoticeCode                  // a code that somebody waits for
)

// An AppPassword names an app password. It is no secret; an empty ID is none.
type AppPassword struct {
	ID   string
	Name string
}

// A Notice is something that the owner of an account should know.
type Notice struct {
	ID          string // unique: a notice that comes twice is the same
	Kind        NoticeKind
	Time        time.Time
	Account     string            // the normalised name
	Attributes  map[string]string // of the account in its directory, such as "mail"
	AppPassword AppPassword
	Service     string // where, of a use: "radius/vpn1"
	Source      string // the address that asked
	Device      string // such as a Calling-Station-Id
	Actor       string // who did it, where that was not the owner
	Code        string // of NoticeCode: a secret that goes to the owner alone
	Text        string // the notice as a sentence, in English
}

// A Notifier tells people something. Methods may be called from many
// goroutines.
type Notifier interface {
	// Notify delivers n, or hands it to who will, and returns soon after ctx
	// ends. After an error the host may send it again.
	Notify(ctx context.Context, n Notice) error
}

type notifierServer struct {
	pluginv1.UnimplementedNotifierServer
	notifier Notifier
}

func (s *notifierServer) Notify(ctx context.Context, req *pluginv1.NotifyRequest) (*pluginv1.NotifyResponse, error) {
	n := req.GetNotice()
	err := s.notifier.Notify(ctx, Notice{
		ID: n.GetId(), Kind: NoticeKind(min(n.GetKind(), 255)), Time: n.GetTime().AsTime(), Account: n.GetAccount(), Attributes: n.GetAttributes(),
		AppPassword: appPassword(n.GetAppPassword()), Service: n.GetService(), Source: n.GetSource(), Device: n.GetDevice(),
		Actor: n.GetActor(), Code: n.GetCode(), Text: n.GetText(),
	})
	if err != nil {
		return nil, wire.StoreStatus(unavailable(err))
	}
	return &pluginv1.NotifyResponse{Id: n.GetId()}, nil
}

func appPassword(p *pluginv1.AppPassword) AppPassword {
	return AppPassword{ID: p.GetId(), Name: p.GetName()}
}

// unavailable is err as an inability, whatever else it is: a notifier and a hook
// have no other error.
func unavailable(err error) error { return inability{err} }

type inability struct{ error }

func (inability) Is(target error) bool { return target == store.ErrUnavailable }
