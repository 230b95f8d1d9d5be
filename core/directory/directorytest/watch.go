package directorytest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keywicket/keywicket/core/directory"
)

const (
	quietFor = 100 * time.Millisecond // in which nothing must happen
	latest   = 5 * time.Second        // by which something must
)

func watcherCases() []Case {
	return []Case{
		{"watch/changes", watchChanges},
		{"watch/closes", watchCloses},
	}
}

// watchChanges needs an Editor to make the changes, or a Change of the Fixture.
func watchChanges(ctx context.Context, d directory.Directory, f Fixture) error {
	w, watches := d.(directory.Watcher)
	e, edits := d.(editable)
	switch {
	case !watches:
		return ErrNotOffered
	case !edits && f.Change == nil:
		return fmt.Errorf("%w: there is no command (--change) that changes an account meanwhile", ErrNotTried)
	case !edits:
		return watchOutside(ctx, w, f)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, err := w.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	name := prefix + "a"
	defer func() { _ = e.Remove(context.WithoutCancel(ctx), name) }()
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"add", func() error { _, err := e.Add(ctx, name, nil, nil); return err }},
		{"disable", func() error { return e.SetEnabled(ctx, name, false) }},
		{"set the password", func() error { return e.SetPassword(ctx, name, []byte(after)) }},
		{"remove", func() error { return e.Remove(ctx, name) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		select {
		case c, open := <-changes:
			if !open {
				return fmt.Errorf("%s: the channel was closed", step.what)
			}
			if c.Name != name && !c.Reset {
				return fmt.Errorf("%s: a change of %q", step.what, c.Name)
			}
		case <-time.After(latest):
			return fmt.Errorf("%s: no change was sent within %v", step.what, latest)
		}
	}
	return nil
}

// watchOutside waits as long as ctx lasts: a directory may have to look for what
// changed.
func watchOutside(ctx context.Context, w directory.Watcher, f Fixture) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, err := w.Watch(watching)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if err := f.Change(ctx); err != nil {
		return fmt.Errorf("change %s from outside: %w", f.Enabled.Name, err)
	}
	for {
		select {
		case c, open := <-changes:
			switch {
			case !open:
				return errors.New("the channel was closed")
			case c.Reset || c.Name == f.Enabled.Name:
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("%s was changed from outside, and the watch never said so", f.Enabled.Name)
		}
	}
}

func watchCloses(ctx context.Context, d directory.Directory, _ Fixture) error {
	w, ok := d.(directory.Watcher)
	if !ok {
		return ErrNotOffered
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, err := w.Watch(watching)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	for quiet := time.After(quietFor); quiet != nil; {
		select {
		case _, open := <-changes:
			if !open {
				return errors.New("the channel was closed before the context ended")
			}
		case <-quiet:
			quiet = nil
		}
	}
	cancel()
	late := time.After(latest)
	for {
		select {
		case _, open := <-changes:
			if !open {
				return nil
			}
		case <-late:
			return fmt.Errorf("the channel is open %v after the context ended", latest)
		}
	}
}
