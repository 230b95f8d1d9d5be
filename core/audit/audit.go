package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core"
)

const (
	defaultMaxBytes = 64 << 20
	defaultMaxAge   = 24 * time.Hour
	defaultBuffer   = 65536

	// flushAfter is how long an event waits for others to be written with it.
	flushAfter = 50 * time.Millisecond
	syncEvery  = time.Second

	// After a failure the next try comes after minBackOff, then twice as late
	// each time, up to maxBackOff.
	minBackOff = 100 * time.Millisecond
	maxBackOff = 5 * time.Second

	// bufferedOctets bounds the buffer, in octets for each event that it holds:
	// an ordinary line has 300.
	bufferedOctets = 1024

	// hurryOctets is when waiting for more makes writing no cheaper.
	hurryOctets = 256 << 10
)

// Options say where the log is and how it is kept. Dir and Key must be set.
type Options struct {
	Dir string // made with mode 0700 if need be

	Key     []byte   // what is written from now on; at least 32 octets
	OldKeys [][]byte // what the end of the log may have been written with

	MaxBytes int64         // a file that would grow beyond is followed by another; default 64 MiB
	MaxAge   time.Duration // the first event after it goes to another file; default 24 h
	Keep     int           // how many files are kept; 0 keeps all
	Buffer   int           // how many events wait for the disk at most; default 65536

	Log *slog.Logger     // default: nowhere
	Now func() time.Time // default: time.Now

	open opener
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, defaultMaxBytes)
	o.MaxAge = cmp.Or(o.MaxAge, defaultMaxAge)
	o.Buffer = cmp.Or(o.Buffer, defaultBuffer)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.open == nil {
		o.open = openOS
	}
	return o
}

func (o Options) check() error {
	var err error
	switch {
	case o.Dir == "":
		err = errors.New("the audit log has no directory")
	case o.MaxBytes < 0 || o.MaxAge < 0 || o.Keep < 0 || o.Buffer < 0:
		err = errors.New("a bound of the audit log is negative")
	default:
		return nil
	}
	return &core.Error{Op: "audit", Kind: core.KindInvalid, Err: err}
}

// A Log writes the audit log of one directory. Its methods may be called from
// many goroutines. It is a core.Recorder.
//
// Their errors are *core.Error of the kind KindUnavailable.
type Log struct {
	opt  Options
	w    *writer // of the goroutine of run
	wake chan struct{}
	rush chan struct{}
	stop chan struct{}
	done chan struct{}

	dates dates

	closing  sync.Once
	closeErr error

	mu       sync.Mutex
	closed   bool   // Close was called
	ended    bool   // and run has returned
	pending  []byte // bodies that wait, each with a line end
	octets   int    // of bodies that are not written yet, pending or taken
	recorded uint64 // events
	written  uint64 // of them
	dropped  int    // events refused since the last audit-dropped
	tries    uint64 // to write
	failure  error  // of the last try
	changed  chan struct{}
}

// Open goes on with the log in opt.Dir, or begins one. What a crash left there
// is mended, and what somebody changed there is told to opt.Log and recorded;
// neither is an error. It is one if another process has the log open, or if the
// directory can't be read or written.
func Open(opt Options) (*Log, error) {
	opt = opt.withDefaults()
	if err := opt.check(); err != nil {
		return nil, err
	}
	w, err := resume(opt)
	if err != nil {
		return nil, unavailable("open the audit log", err)
	}
	l := &Log{
		opt: opt, w: w,
		wake: make(chan struct{}, 1), rush: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
	}
	go l.run()
	return l, nil
}

func unavailable(op string, err error) error {
	var e *core.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &core.Error{Op: op, Kind: core.KindUnavailable, Err: err}
}

// Record takes e to be written. It never waits for the disk. An error says
// that e is not recorded: too many events wait already, or the log is closed.
// An event without a time happened now.
func (l *Log) Record(e core.Event) error { return l.Take(&e) }

// Take is Record for whoever records much: an event is large, and to copy it
// right after it was made takes longer than to read it. Take keeps nothing of it.
func (l *Log) Take(e *core.Event) error {
	var space [bufferedOctets]byte
	at := e.Time
	if second := at.Unix(); second <= firstTime || second >= endOfTime {
		at = l.opt.Now()
	}
	body := append(appendBody(space[:0], e, at, &l.dates), '\n')

	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return unavailable("record an event", errors.New("the audit log is closed"))
	case l.recorded-l.written >= uint64(l.opt.Buffer), l.octets+len(body) > l.opt.Buffer*bufferedOctets && l.octets > 0:
		l.dropped++
		return unavailable("record an event", l.full())
	}
	if len(l.pending) == 0 {
		signal(l.wake)
	}
	l.noteDropped()
	l.pending = append(l.pending, body...)
	l.octets += len(body)
	l.recorded++
	if l.failure == nil && (len(l.pending) >= hurryOctets || l.recorded-l.written > uint64(l.opt.Buffer)/2) {
		signal(l.rush)
	}
	return nil
}

// full says why there is no more room; l.mu is held.
func (l *Log) full() error {
	if l.failure != nil {
		return fmt.Errorf("%d events wait, because the audit log cannot be written: %w", l.recorded-l.written, l.failure)
	}
	return fmt.Errorf("%d events wait for the audit log to be written", l.recorded-l.written)
}

// noteDropped puts down that events were refused, where the log lacks them;
// l.mu is held.
func (l *Log) noteDropped() {
	if l.dropped == 0 {
		return
	}
	e := core.Event{Kind: EventDropped, Detail: fmt.Sprintf("%d events could not be recorded", l.dropped)}
	before := len(l.pending)
	l.pending = append(appendBody(l.pending, &e, l.opt.Now(), &l.dates), '\n')
	l.octets += len(l.pending) - before
	l.recorded++
	l.dropped = 0
}

// signal leaves a token in c, unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Ready returns why the log can't be written at the moment, or nil. What is
// recorded meanwhile waits, as long as there is room.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return unavailable("write the audit log", errors.New("the audit log is closed"))
	}
	return unavailable("write the audit log", l.failure)
}

// Sync returns when everything that was recorded before is handed to the
// system, or with an error once a try to do so failed or ctx ended. It does not
// force it to the disk, which happens within a second.
func (l *Log) Sync(ctx context.Context) error {
	l.mu.Lock()
	want, tries := l.recorded, l.tries
	for {
		failure, changed, ended := l.failure, l.changed, l.ended
		switch {
		case l.written >= want:
			l.mu.Unlock()
			return nil
		case ended:
			l.mu.Unlock()
			return unavailable("write the audit log", errors.Join(errors.New("the audit log is closed"), failure))
		case failure != nil && l.tries > tries+1:
			// The try that was under way may have begun before the call.
			l.mu.Unlock()
			return unavailable("write the audit log", failure)
		}
		l.mu.Unlock()
		signal(l.rush)
		select {
		case <-changed:
		case <-ctx.Done():
			return unavailable("write the audit log", ctx.Err())
		}
		l.mu.Lock()
	}
}

// Close writes what waits, forces it to the disk and ends the log. Its error
// says that some of it could not be written. Further calls return the same.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.noteDropped()
		l.mu.Unlock()
		close(l.stop)
		<-l.done
		l.mu.Lock()
		l.ended = true
		lost := l.recorded - l.written
		close(l.changed) // for good: nobody replaces it any more
		l.mu.Unlock()
		if lost > 0 {
			l.closeErr = fmt.Errorf("%d events are lost: %w", lost, l.closeErr)
		}
		l.closeErr = unavailable("close the audit log", l.closeErr)
	})
	return l.closeErr
}

// run writes until Close.
func (l *Log) run() {
	defer close(l.done)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	due, backOff := false, time.Duration(0)
	for {
		wake := l.wake
		if due || backOff > 0 {
			wake = nil // the timer decides
		}
		select {
		case <-wake:
			timer.Reset(flushAfter)
			due = true
			continue
		case <-timer.C:
		case <-l.rush:
		case <-l.stop:
			l.turn()
			l.closeErr = errors.Join(l.failure, l.w.close())
			return
		}
		timer.Stop()
		due = false
		if err := l.turn(); err != nil {
			backOff = min(max(minBackOff, 2*backOff), maxBackOff)
			timer.Reset(backOff)
			continue
		}
		backOff = 0
		if wait, unsynced := l.w.untilSync(); unsynced {
			timer.Reset(wait)
		}
	}
}

// turn writes what waits, and tells who waits for it.
func (l *Log) turn() error {
	l.mu.Lock()
	l.pending = l.w.take(l.pending)
	l.mu.Unlock()

	err := l.w.write()
	events, octets := l.w.progress()

	l.mu.Lock()
	defer l.mu.Unlock()
	l.written += uint64(events)
	l.octets -= octets
	l.tries++
	switch {
	case err != nil && l.failure == nil:
		l.opt.Log.Error("the audit log cannot be written; trying again", "dir", l.opt.Dir, "err", err)
	case err == nil && l.failure != nil:
		l.opt.Log.Info("the audit log is written again", "dir", l.opt.Dir, "refused", l.dropped)
		l.noteDropped()
		signal(l.wake)
	}
	l.failure = err
	close(l.changed)
	l.changed = make(chan struct{})
	return err
}
