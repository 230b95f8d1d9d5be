package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// readyInterval is how often readiness is looked at, where the service manager
// does not want to hear from us more often.
const readyInterval = 10 * time.Second

// A notifier tells the service manager how the daemon is, in the protocol of
// sd_notify(3). A nil one, which stands for no service manager, does nothing.
type notifier struct {
	log      *slog.Logger
	conn     *net.UnixConn
	watchdog bool
	every    time.Duration
	patience time.Duration

	cancel context.CancelFunc // nil: not watching
	done   sync.WaitGroup

	mu      sync.Mutex
	stopped bool // STOPPING was said, and is the last word
}

// newNotifier takes what the service manager left in the environment out of
// it, so that no other program that we start speaks for us. It returns nil
// where nobody wants to know.
//
// patience is how long the daemon may be unready before the watchdog is let
// run out. A store that does not answer is seldom helped by a restart: accounts
// in memory can sign in meanwhile, and a new process would have none and wait
// for the same disk. Only when it lasts, a fresh start is worth more than that:
// it heals a deadlock of ours and a disk that was mounted again.
func newNotifier(log *slog.Logger, patience time.Duration) *notifier {
	address, usec, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		_ = os.Unsetenv(name) // fails for impossible names alone
	}
	if address == "" {
		return nil
	}
	n := &notifier{log: log, every: readyInterval, patience: patience}
	if us, err := strconv.ParseInt(usec, 10, 64); err == nil && us > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		// A late answer and the pause after it must fit in twice.
		n.watchdog, n.every = true, min(readyInterval, time.Duration(us)*time.Microsecond/4)
	}
	// "@" begins an abstract address, for systemd and for package net.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		log.Warn("the service manager cannot be told anything", "err", err)
		return nil
	}
	n.conn = conn
	n.send("STATUS=Starting")
	return n
}

// send sends one message of several assignments. After stopping it sends
// nothing: a reload that ends late must not say READY again.
func (n *notifier) send(assignments ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return
	}
	n.stopped = assignments[0] == "STOPPING=1"
	if _, err := n.conn.Write([]byte(strings.Join(assignments, "\n"))); err != nil {
		n.log.Warn("the service manager could not be told", "err", err)
	}
}

// ready says that everything answers, and begins to look after it.
func (n *notifier) ready(ctx context.Context, ask func(context.Context) error) {
	if n == nil {
		return
	}
	n.send("READY=1", "STATUS=Ready")
	ctx, n.cancel = context.WithCancel(ctx)
	n.done.Go(func() { n.watch(ctx, ask) })
}

// reloading says that the configuration is being read again; the caller calls
// what it returns when that is over, with whatever outcome.
func (n *notifier) reloading() (over func()) {
	if n == nil {
		return func() {}
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.log.Warn("the monotonic clock cannot be read", "err", err)
		return func() {}
	}
	n.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
	return func() { n.send("READY=1") }
}

// stop says that the daemon stops, if that was not said yet, and ends watching.
func (n *notifier) stop() {
	if n == nil {
		return
	}
	n.stopping()
	if n.cancel != nil {
		n.cancel()
	}
	n.done.Wait()
	_ = n.conn.Close() // nothing is buffered
}

func (n *notifier) stopping() { n.send("STOPPING=1", "STATUS=Stopping") }

var errLate = errors.New("no answer in time")

// watch asks for readiness until ctx ends, shows it as the status, and feeds
// the watchdog.
func (n *notifier) watch(ctx context.Context, ask func(context.Context) error) {
	answer := make(chan error, 1)
	asked, unready := false, time.Time{}
	for {
		if !asked { // never a second question while one hangs
			asked = true
			// Nobody waits for this one at the end: what hangs in the disk
			// cannot be ended, and must not hold up the stop.
			go func() { answer <- ask(ctx) }()
		}
		err := errLate
		select {
		case <-ctx.Done():
			n.stopping()
			return
		case err = <-answer:
			asked = false
		case <-time.After(n.every):
		}
		if ctx.Err() != nil { // the answer may be about that
			continue
		}
		unready = n.judge(err, unready)
		select {
		case <-ctx.Done():
		case <-time.After(n.every):
		}
	}
}

// judge tells of an answer. unready is since when there was no good one, or
// zero, before it; the result is that after it.
func (n *notifier) judge(err error, unready time.Time) time.Time {
	now := time.Now()
	switch {
	case err == nil && !unready.IsZero():
		n.log.Info("ready again", "after", now.Sub(unready).String())
		n.send("STATUS=Ready")
	case err != nil && unready.IsZero():
		// The cause goes to the log alone: everybody on the host sees the status.
		n.log.Error("not ready: attempts cannot be decided", "err", err)
		n.send("STATUS=Not ready: the store does not answer; the log says why")
		unready = now
	}
	if err == nil {
		unready = time.Time{}
	}
	switch {
	case !n.watchdog:
	case unready.IsZero() || now.Sub(unready) < n.patience:
		n.send("WATCHDOG=1")
	default:
		n.log.Error("not ready for too long; the service manager is to start the daemon again", "since", unready, "err", err)
	}
	return unready
}
