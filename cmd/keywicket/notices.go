package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/plugins/sdk"
)

const (
	noticesWaiting = 1000
	usedKnown      = 100_000 // app passwords whose first use is known to be over
)

// notices makes notices of events, in the background.
type notices struct {
	log       *slog.Logger
	to        atomic.Pointer[[]*pluginhost.Notifier]
	queue     chan core.Event
	stop      context.CancelFunc
	done      sync.WaitGroup
	engine    *core.Engine // both set before begin
	directory directory.Directory

	used sync.Map // by id: app passwords that were used before
	many atomic.Int64
}

func newNotices(log *slog.Logger) *notices {
	n := &notices{log: log, queue: make(chan core.Event, noticesWaiting), stop: func() {}}
	n.to.Store(&[]*pluginhost.Notifier{})
	return n
}

// begin starts to work off the queue.
func (n *notices) begin(e *core.Engine, d directory.Directory) {
	n.engine, n.directory = e, d
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.done.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-n.queue:
				n.tell(ctx, e)
			}
		}
	})
}

func (n *notices) close() {
	n.stop()
	n.done.Wait()
}

// note queues an event that may be worth a notice, and never waits.
func (n *notices) note(e core.Event) {
	if len(*n.to.Load()) == 0 || noticeKind(e) == 0 {
		return
	}
	if _, known := n.used.Load(e.AppPassword.ID); known && e.Kind == core.EventAttempt {
		return
	}
	select {
	case n.queue <- e:
	default:
		n.log.Warn("a notice is dropped: too many wait", "event", e.Kind)
	}
}

// noticeKind returns what an event would be a notice of, or zero.
func noticeKind(e core.Event) sdk.NoticeKind {
	switch e.Kind {
	case core.EventCreated:
		return sdk.NoticeCreated
	case core.EventDeleted:
		return sdk.NoticeDeleted
	case core.EventTwoStepOn:
		return sdk.NoticeTwoStepOn
	case core.EventTwoStepOff:
		return sdk.NoticeTwoStepOff
	case core.EventAttempt:
		if e.Reason == "" && e.AppPassword.ID != "" {
			return sdk.NoticeFirstUse
		}
	}
	return 0
}

// tell sends the notice of an event, if it is one.
func (n *notices) tell(ctx context.Context, e core.Event) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if e.Kind == core.EventAttempt && !n.firstUse(ctx, e) {
		return
	}
	notice := sdk.Notice{
		ID: rand.Text(), Kind: noticeKind(e), Time: e.Time, Account: e.Account, AppPassword: sdk.AppPassword{ID: e.AppPassword.ID, Name: e.AppPassword.Name},
		Service: e.Service, Source: e.Source, Device: e.Device, Actor: e.Actor, Text: sentence(e),
	}
	if account, err := n.directory.Lookup(ctx, e.Account); err == nil {
		notice.Attributes = account.Attributes
	}
	for _, to := range *n.to.Load() {
		to.Send(notice)
	}
}

// firstUse says whether an app password was not used before this attempt.
func (n *notices) firstUse(ctx context.Context, e core.Event) bool {
	all, err := n.engine.List(ctx, e.Account)
	if err != nil {
		n.log.Warn("whether an app password is new cannot be read; nobody is told of its use", "err", err)
		return false
	}
	first := false
	for _, p := range all {
		first = first || p.ID == e.AppPassword.ID && p.Uses <= 1
	}
	if _, known := n.used.LoadOrStore(e.AppPassword.ID, true); known {
		return false
	}
	if n.many.Add(1) > usedKnown {
		n.used.Clear() // then they are read once more
		n.many.Store(0)
	}
	return first
}

// sentence says what happened, to the owner of the account.
func sentence(e core.Event) string {
	switch e.Kind {
	case core.EventCreated:
		return fmt.Sprintf("The app password %q was created.", e.AppPassword.Name)
	case core.EventDeleted:
		return fmt.Sprintf("The app password %q was deleted.", e.AppPassword.Name)
	case core.EventTwoStepOn:
		return "Two-step verification was turned on."
	case core.EventTwoStepOff:
		return "Two-step verification was turned off, and app passwords do not work without it."
	case core.EventAttempt:
		return fmt.Sprintf("The app password %q was used for the first time, at %s.", e.AppPassword.Name, e.Service)
	}
	return ""
}
