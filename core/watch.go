package core

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// watches says whether the cache is being kept right. While the store is not
// watched, nothing is taken from the cache; while the directory is not, its
// answers hold for a while only.
type watches struct {
	store     atomic.Bool
	directory atomic.Bool
	sessions  atomic.Bool // which decides nothing
}

// rewatch is how long to wait before a watch that ended is started again.
const rewatch = time.Second

// startWatches starts watching, and returns once both were tried.
func (e *Engine) startWatches(ctx context.Context) {
	e.keep(ctx, watch{"store", &e.watches.store, e.watchStore, e.cache.dropRecords})
	if _, ok := e.directory.(directory.Watcher); ok {
		e.keep(ctx, watch{"directory", &e.watches.directory, e.watchDirectory, e.cache.dropAll})
	}
	if e.opt.Node != "" {
		e.keep(ctx, watch{"sessions", &e.watches.sessions, e.watchSessions, func() {}})
	}
}

// A watch is one thing that the cache follows.
type watch struct {
	of    string
	on    *atomic.Bool
	start func(context.Context) (wait func(), err error)
	drop  func() // forgets what may have changed while nobody watched
}

// keep runs w until ctx ends, starting it again whenever it ends. The first
// start has been tried when keep returns.
func (e *Engine) keep(ctx context.Context, w watch) {
	wait, err := e.begin(ctx, w)
	e.done.Go(func() {
		for ctx.Err() == nil {
			if err == nil {
				wait()
				w.on.Store(false)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(rewatch):
			}
			wait, err = e.begin(ctx, w)
		}
	})
}

func (e *Engine) begin(ctx context.Context, w watch) (wait func(), err error) {
	wait, err = w.start(ctx)
	if err != nil {
		e.log.Warn("a watch could not be started; trying again", "of", w.of, "err", err)
		return nil, err
	}
	w.drop()
	w.on.Store(true)
	return wait, nil
}

func (e *Engine) watchStore(ctx context.Context) (func(), error) {
	events, err := e.store.Watch(ctx, record.PrefixAccount)
	if err != nil {
		return nil, storeError("watch store", err)
	}
	return func() {
		for ev := range events {
			e.storeChanged(ev)
		}
	}, nil
}

func (e *Engine) storeChanged(ev store.Event) {
	switch {
	case ev.Lost:
		e.watches.store.Store(false)
		return
	case ev.Reset:
		e.cache.dropRecords()
		e.watches.store.Store(true)
		e.sessions.SuspectAll()
		return
	}
	rev := ev.Entry.Revision
	if ev.Deleted {
		rev = latest
	}
	name := strings.TrimPrefix(ev.Entry.Key, record.PrefixAccount)
	e.cache.dropRecord(name, rev)
	e.sessions.Suspect(name)
}

// watchSessions follows what other nodes write of sessions. What they wrote before is
// read when it begins.
func (e *Engine) watchSessions(ctx context.Context) (func(), error) {
	ctx, stop := context.WithCancel(ctx)
	events, err := e.store.Watch(ctx, record.PrefixSession)
	if err != nil {
		stop()
		return nil, storeError("watch sessions", err)
	}
	return func() {
		defer stop()
		for err := e.sessions.Compare(ctx); err == nil; { // else the store is away: once more before long
			ev, more := <-events
			switch {
			case !more:
				return
			case ev.Reset:
				err = e.sessions.Compare(ctx)
			case !ev.Lost:
				e.sessions.Follow(ev)
			}
		}
	}, nil
}

func (e *Engine) watchDirectory(ctx context.Context) (func(), error) {
	changes, err := e.directory.(directory.Watcher).Watch(ctx)
	if err != nil {
		return nil, directoryError("watch directory", err)
	}
	return func() {
		for c := range changes {
			switch {
			case c.Lost: // what it said holds for a while now, as without a watch
				e.watches.directory.Store(false)
			case c.Reset:
				e.cache.dropAll()
				e.watches.directory.Store(true)
				e.sessions.SuspectAll()
			default:
				e.cache.drop(c.Name)
				e.sessions.Suspect(c.Name)
				if e.policy.Load().OnTwoStepOff == Delete {
					e.lapse(c.Name)
				}
			}
		}
	}, nil
}
