package pluginhost

import (
	"context"
	"errors"
	"time"

	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// rewatch is how long to wait before a watch that the plugin did not take, or
// told nonsense in, is begun again.
const rewatch = time.Second

// A watching is a watch that is begun again whenever it ends: with a plugin's
// life, or its connection to what is behind it.
type watching[E any] struct {
	// open begins the watch at one instance. next returns what the plugin tells;
	// the first is that it has started.
	open func(ctx context.Context, on *instance) (next func() (e E, started bool, err error), err error)

	can         func(*instance) bool // whether the plugin has a watch at all
	lost, reset E
}

var errNoWatch = errors.New("it has no watch")

// A following is one stream of a watch.
type following[E any] struct {
	on   *instance
	next func() (E, bool, error)
	stop context.CancelFunc
}

// begin opens the watch at the instance that runs, and returns once it has
// started. It does not wait longer than a call may take.
func (w *watching[E]) begin(ctx context.Context, p *plugged) (*following[E], error) {
	within, done := context.WithTimeout(ctx, wire.Deadline)
	defer done()
	on, err := p.acquire(within)
	if err != nil {
		return nil, p.gone(err)
	}
	defer on.calls.Done() // a watch that is begun holds up no swap
	if !w.can(on) {
		return nil, errNoWatch
	}
	ctx, stop := context.WithCancel(ctx)
	go func() {
		select {
		case <-on.retired:
			stop()
		case <-ctx.Done():
		}
	}()
	late := context.AfterFunc(within, stop)
	next, err := w.open(ctx, on)
	started := false
	if err == nil {
		_, started, err = next()
	}
	if err == nil && !started {
		err = wrong("the first of a watch is not that it has started")
		p.fault("Watch", err)
	}
	if err == nil && !late() {
		err = within.Err()
	}
	p.count("Watch", 0, err)
	if err != nil {
		stop()
		return nil, p.gone(wire.StoreError(err))
	}
	return &following[E]{on, next, stop}, nil
}

// watch follows what a plugin tells, from one of its lives to the next, until
// ctx ends or the plugin is stopped. Where it must, it has begun when watch
// returns; else the first that is told may be that it is lost.
func watch[E any](ctx context.Context, p *plugged, w watching[E], must bool) (<-chan E, error) {
	ctx, end := context.WithCancel(ctx)
	f, err := w.begin(ctx, p)
	select {
	case <-p.done:
		err, must = p.gone(errStopped), true
	default:
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil && (must || ctx.Err() != nil) {
		end()
		return nil, err
	}
	out := make(chan E)
	go func() {
		select {
		case <-p.done:
		case <-ctx.Done():
		}
		end()
	}()
	go func() {
		defer close(out)
		defer end()
		if f == nil {
			f = w.resume(ctx, p, out, true)
		}
		for f != nil {
			lost := w.follow(ctx, p, f, out)
			f.stop()
			f = w.resume(ctx, p, out, lost)
		}
	}()
	return out, nil
}

// follow tells what the stream tells until it ends. It says whether changes may
// be missed now: not where another instance has taken over, and is watched at
// once.
func (w *watching[E]) follow(ctx context.Context, p *plugged, f *following[E], out chan<- E) (lost bool) {
	for {
		e, started, err := f.next()
		if err == nil && started {
			err = wrong("a watch that starts twice")
		}
		if err != nil {
			var odd wrongAnswer
			if errors.As(err, &odd) {
				p.fault("Watch", err)
			}
			now := p.now()
			return now == nil || now == f.on
		}
		if !tell(ctx, out, e) {
			return true
		}
	}
}

// resume begins the watch again, as often as it takes, and tells of it. It
// returns nil when ctx ends.
func (w *watching[E]) resume(ctx context.Context, p *plugged, out chan<- E, lost bool) *following[E] {
	said := false
	for {
		if lost && !said {
			if !tell(ctx, out, w.lost) {
				return nil
			}
			said = true
		}
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		f, err := w.begin(ctx, p)
		if err == nil {
			if tell(ctx, out, w.reset) {
				return f
			}
			f.stop()
			return nil
		}
		lost = true
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(rewatch):
		}
	}
}

func tell[E any](ctx context.Context, out chan<- E, e E) bool {
	select {
	case out <- e:
		return true
	case <-ctx.Done():
		return false
	}
}
