package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A State is how a plugin is, in a word.
type State string

// The states of a plugin.
const (
	StateStarting    State = "starting"
	StateRunning     State = "running"
	StateWaiting     State = "waiting"     // it ended, or did not start; it is tried again in a moment
	StateQuarantined State = "quarantined" // it ended too often; it is tried again after a while
	StateStopped     State = "stopped"
)

// callsAtOnce bounds the calls of a plugin that are under way.
const callsAtOnce = 128

// A plugged is a plugin that is kept running, whatever its processes do.
type plugged struct {
	host  *Host
	name  string
	kind  Kind
	log   *slog.Logger
	slots chan struct{}

	swaps chan swap     // a new spec to run
	again chan struct{} // do not wait any longer
	stop  context.CancelFunc
	done  chan struct{}

	faultLog output

	mu        sync.Mutex
	spec      Spec
	current   *instance     // nil: there is none that could be asked
	changed   chan struct{} // closed when any of this changes
	state     State
	until     time.Time // of a waiting or quarantined one: when it is tried
	restarts  int
	crashes   []time.Time // the latest
	since     time.Time   // of a running one
	lastError string
	lastAt    time.Time
	faults    int
	stats     map[string]*CallStats
}

// A swap asks for another binary or other settings.
type swap struct {
	spec Spec
	done chan error
}

func (h *Host) newPlugged(spec Spec) *plugged {
	p := &plugged{
		host: h, name: spec.Name, kind: spec.Kind, log: h.opt.Log.With("plugin", spec.Name), spec: spec,
		slots: make(chan struct{}, callsAtOnce), swaps: make(chan swap), again: make(chan struct{}, 1), done: make(chan struct{}),
		changed: make(chan struct{}), state: StateStarting, stats: map[string]*CallStats{},
	}
	return p
}

// set changes what mu guards, and tells whoever waits.
func (p *plugged) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// run keeps the plugin running until ctx ends.
func (p *plugged) run(ctx context.Context) {
	defer close(p.done)
	defer p.set(func() { p.state = StateStopped })
	wait := p.host.opt.Restart.First
	for ctx.Err() == nil {
		p.mu.Lock()
		spec := p.spec
		p.mu.Unlock()
		i, err := p.host.launch(ctx, spec, p.log)
		if err == nil {
			began := time.Now()
			p.serving(i)
			err = p.serve(ctx, i)
			if time.Since(began) > p.host.opt.Restart.Most {
				wait = p.host.opt.Restart.First // it was well for long enough
			}
		}
		if ctx.Err() != nil {
			return
		}
		wait = p.rest(ctx, err, wait)
	}
}

func (p *plugged) serving(i *instance) {
	p.set(func() {
		p.current, p.state, p.since, p.until = i, StateRunning, time.Now(), time.Time{}
		select {
		case <-p.again: // that it is tried at once has come true
		default:
		}
	})
	p.log.Info("the plugin runs", "kind", i.kind, "version", i.version, "pid", i.running().cmd.Process.Pid, "sha256", i.spec.Sum())
}

// serve returns why the plugin ended. Meanwhile it swaps its binary where that
// is asked for.
func (p *plugged) serve(ctx context.Context, i *instance) error {
	for {
		select {
		case <-ctx.Done():
			p.set(func() { p.current = nil })
			i.stop(0)
			return ctx.Err()
		case <-i.ended:
			p.set(func() { p.current = nil })
			return i.ending()
		case s := <-p.swaps:
			next, err := p.host.launch(ctx, s.spec, p.log)
			if err == nil {
				p.set(func() { p.spec, p.crashes = s.spec, nil })
				p.serving(next)
				old := i
				i = next
				p.host.done.Go(func() { old.stop(drainWithin) })
			}
			s.done <- err
		}
	}
}

// drainWithin is how long calls may take that were begun before a swap: each has
// its deadline.
const drainWithin = 3 * time.Second

// rest waits until the plugin may be started again, and returns how long it
// would wait the next time.
func (p *plugged) rest(ctx context.Context, why error, wait time.Duration) time.Duration {
	next := min(2*wait, p.host.opt.Restart.Most)
	now := time.Now()
	p.set(func() {
		p.restarts++
		p.lastError, p.lastAt = why.Error(), now
		p.crashes = append(p.crashes, now)
		for len(p.crashes) > 0 && now.Sub(p.crashes[0]) > p.host.opt.Restart.Within {
			p.crashes = p.crashes[1:]
		}
		p.state = StateWaiting
		if len(p.crashes) >= p.host.opt.Restart.Crashes {
			p.state, p.crashes = StateQuarantined, nil
			wait, next = p.host.opt.Restart.Quarantine, p.host.opt.Restart.First
		}
		p.until = now.Add(wait)
	})
	p.mu.Lock()
	state := p.state
	p.mu.Unlock()
	p.log.Error("the plugin does not run", "state", state, "err", why, "again_in", wait.String())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-p.again:
		next = p.host.opt.Restart.First
		p.set(func() { p.crashes = nil })
	case s := <-p.swaps: // nothing runs now: the new one is simply the next
		err := s.spec.check()
		if err == nil {
			p.set(func() { p.spec, p.crashes = s.spec, nil })
		}
		s.done <- err
		next = p.host.opt.Restart.First
	}
	if ctx.Err() == nil {
		p.set(func() { p.state, p.until = StateStarting, time.Time{} })
	}
	return next
}

var errStopped = errors.New("it is stopped")

// acquire returns the instance to ask, and counts a call of it. It waits for one
// that is about to come.
func (p *plugged) acquire(ctx context.Context) (*instance, error) {
	for {
		p.mu.Lock()
		i, state, until, last, changed := p.current, p.state, p.until, p.lastError, p.changed
		if i != nil && !i.enter() { // it is dead, and this is not yet known here
			i = nil
		}
		p.mu.Unlock()
		switch deadline, _ := ctx.Deadline(); {
		case i != nil:
			return i, nil
		case state == StateStopped:
			return nil, errStopped
		case state == StateQuarantined, state == StateWaiting && !deadline.IsZero() && until.After(deadline):
			return nil, fmt.Errorf("%s until %s: %s", state, until.UTC().Format(time.RFC3339), last)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %s", state, last)
		}
	}
}

// swap runs spec instead of what runs now. Where it cannot be started, what
// runs now goes on.
func (p *plugged) swap(ctx context.Context, spec Spec) error {
	s := swap{spec: spec, done: make(chan error, 1)}
	select {
	case p.swaps <- s:
	case <-p.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-s.done:
		return err
	case <-p.done:
		return errStopped
	}
}

// retry ends a wait or a quarantine, also that which a start that is under way
// comes to. One that runs is not told: its next end would have no wait.
func (p *plugged) retry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		return
	}
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// lookAt tells the administrator where the plugin that runs could not be started
// again: its program was changed, and pinned it was before.
func (p *plugged) lookAt(spec Spec) {
	if p.now() == nil {
		return // it is tried, and what is wrong is said
	}
	err := spec.check()
	if err == nil {
		return
	}
	err = fmt.Errorf("it runs, and will not start again: %w", err)
	p.mu.Lock()
	p.lastError, p.lastAt = err.Error(), time.Now()
	p.mu.Unlock()
	p.log.Warn("the plugin will not start again", "err", err)
}
