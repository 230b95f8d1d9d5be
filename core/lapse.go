package core

import (
	"context"
	"errors"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
)

const (
	// maxLapses is how many accounts wait to be looked at. One that finds no place
	// comes again when its directory is asked again.
	maxLapses = 1024

	lapseTimeout = 10 * time.Second // for one
	lapseAgain   = time.Minute      // after that did not do
)

// lapsed says whether the app passwords of an account are to be deleted: its
// directory keeps two-step verification itself, had said that it was on and
// says now that it is off, and the policy wants that (rule A6). Until they are
// gone they do not work.
func (e *Engine) lapsed(dir directory.Account, rec *record.Account) bool {
	return dir.TwoStep == directory.Off && rec.TwoStepThere && len(rec.AppPasswords) > 0 &&
		e.policy.Load().OnTwoStepOff == Delete && belongs(rec, dir)
}

// lapse has an account looked at soon.
func (e *Engine) lapse(name string) {
	select {
	case e.lapses <- name:
	default:
	}
}

// lapseLoop deletes what lapsed, until ctx ends.
func (e *Engine) lapseLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-e.lapses:
			if err := e.deleteLapsed(ctx, name); err != nil && ctx.Err() == nil {
				e.log.Warn("two-step verification was turned off in the directory, and the app passwords could not be deleted; they do not work, and it is tried again", "account", shown(name), "err", err)
				time.AfterFunc(lapseAgain, func() { e.lapse(name) })
			}
		}
	}
}

// deleteLapsed asks the directory once more, and deletes in the same write that
// finds the app passwords there.
func (e *Engine) deleteLapsed(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(WithActor(ctx, "directory"), lapseTimeout)
	defer cancel()
	var gone []Ref
	_, err := e.change(ctx, name, func(o owned) error {
		if gone = nil; !e.lapsed(o.dir, o.rec) {
			return errNoChange
		}
		gone, o.rec.TwoStepThere = e.removeAll(o.rec), false
		return nil
	})
	switch {
	case errors.Is(err, errNoChange), KindOf(err) == KindNotFound:
		return nil
	case err != nil:
		return err
	}
	e.recordEach(ctx, EventDeleted, name, gone)
	return nil
}
