package pluginhost

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// A Notifier tells people something, in the background.
type Notifier struct {
	p     *plugged
	queue chan sdk.Notice
}

const (
	noticesWaiting = 1000 // in the queue of a notifier
	noticesAtOnce  = 4
	noticeTries    = 6
)

// Notifier returns the notifier that a plugin is. What is handed to Send is
// delivered until the host is closed.
func (h *Host) Notifier(name string) (*Notifier, error) {
	p, err := h.pick(name, KindNotifier)
	if err != nil {
		return nil, err
	}
	n := &Notifier{p: p, queue: make(chan sdk.Notice, noticesWaiting)}
	for range noticesAtOnce {
		h.done.Go(n.work)
	}
	return n, nil
}

// Send queues a notice, and never waits. It is false where there is no room.
func (n *Notifier) Send(notice sdk.Notice) bool {
	select {
	case n.queue <- notice:
		return true
	default:
		n.p.fault("Notify", errors.New("too many notices wait; one is dropped"))
		return false
	}
}

func (n *Notifier) work() {
	for {
		select {
		case <-n.p.done:
			return
		case notice := <-n.queue:
			n.deliver(notice)
		}
	}
}

// deliver tries a few times: after 1, 2, 4, … s.
func (n *Notifier) deliver(notice sdk.Notice) {
	wait := time.Second
	for try := 1; ; try++ {
		err := n.Notify(context.Background(), notice)
		if err == nil {
			return
		}
		if try == noticeTries {
			n.p.fault("Notify", errors.Join(errors.New("a notice could not be delivered"), err))
			return
		}
		select {
		case <-n.p.done:
			return
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// Notify delivers a notice now. The error wraps store.ErrUnavailable.
func (n *Notifier) Notify(ctx context.Context, notice sdk.Notice) error {
	req := &pluginv1.NotifyRequest{Notice: &pluginv1.Notice{
		Id: notice.ID, Kind: pluginv1.NoticeKind(notice.Kind), Time: timestamppb.New(notice.Time), Account: valid(notice.Account),
		Attributes: notice.Attributes, AppPassword: appPassword(notice.AppPassword), Service: valid(notice.Service), Source: valid(notice.Source),
		Device: valid(notice.Device), Actor: valid(notice.Actor), Code: valid(notice.Code), Text: valid(notice.Text),
	}}
	err := n.p.do(ctx, call{"Notify", false, func(ctx context.Context, on *instance, a *answered) error {
		r, err := pluginv1.NewNotifierClient(on.conn).Notify(ctx, req, a.options()...)
		if err == nil && r.Id != notice.ID {
			return wrong("asked to deliver %q, it answers for %q", notice.ID, r.Id)
		}
		return err
	}})
	return storeError(err)
}
