package core

import (
	"context"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// sessionFlush is how far the store may be behind with what goes on in a
// session: the octets, when it was last reported, and a session that is known
// from such a report alone.
const sessionFlush = 30 * time.Second

// sessionWrites are the sessions that are to be written, or removed from the
// store where they are over. Whoever needs to know waits; all who wait share
// one write.
type sessionWrites struct {
	urgent, lazy map[sessionKey]struct{}
	now          map[sessionKey]struct{} // being written
	waiting      []chan<- error
	wake         chan struct{} // a token: there is something urgent
	one          sync.Mutex    // one writes at a time
}

func newSessionWrites() sessionWrites {
	return sessionWrites{urgent: make(map[sessionKey]struct{}), lazy: make(map[sessionKey]struct{}), wake: make(chan struct{}, 1)}
}

// note has the session at key written. The lock of sessions is held.
func (w *sessionWrites) note(key sessionKey, urgent bool) {
	if _, is := w.urgent[key]; is {
		return
	}
	if !urgent {
		w.lazy[key] = struct{}{}
		return
	}
	delete(w.lazy, key)
	w.urgent[key] = struct{}{}
}

// unwritten says whether what is known of key is not in the store yet.
func (w *sessionWrites) unwritten(key sessionKey) bool {
	for _, m := range []map[sessionKey]struct{}{w.urgent, w.lazy, w.now} {
		if _, is := m[key]; is {
			return true
		}
	}
	return false
}

// written returns once what is known of keys is in the store.
func (s *sessions) written(ctx context.Context, keys ...sessionKey) error {
	s.mu.Lock()
	wait := false
	for _, key := range keys {
		if s.writing.unwritten(key) {
			s.writing.note(key, true)
			wait = true
		}
	}
	if !wait {
		s.mu.Unlock()
		return nil
	}
	done := make(chan error, 1)
	s.writing.waiting = append(s.writing.waiting, done)
	s.mu.Unlock()
	select {
	case s.writing.wake <- struct{}{}:
	default: // it is told already
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &Error{Op: "write session", Kind: KindUnavailable, Err: ctx.Err()}
	}
}

// sessionWriter writes sessions until ctx ends.
func (e *Engine) sessionWriter(ctx context.Context) {
	t := time.NewTicker(sessionFlush)
	defer t.Stop()
	for {
		lazy := false
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			lazy = true
		case <-e.sessions.writing.wake:
		}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		if err := e.writeSessions(within, lazy); err != nil {
			e.log.Warn("sessions could not be written; trying again", "err", err)
		}
		cancel()
	}
}

// writeSessions writes what is urgent, and with lazy the rest too. What cannot
// be written is kept for the next time, and whoever waits is told.
func (e *Engine) writeSessions(ctx context.Context, lazy bool) error {
	w := &e.sessions.writing
	w.one.Lock()
	defer w.one.Unlock()
	ops, keys, waiting := e.sessions.takeWrites(lazy)
	var firstErr error
	for at := 0; at < len(ops); {
		n, size := 0, 0
		for n < flushOps && at+n < len(ops) && size < flushBytes {
			e.sealOp(&ops[at+n])
			size += len(ops[at+n].Value)
			n++
		}
		if _, err := e.store.Apply(ctx, ops[at:at+n]); err != nil {
			e.sessions.writeAgain(keys[at : at+n])
			if firstErr == nil {
				firstErr = storeError("write sessions", err)
			}
		}
		at += n
	}
	e.sessions.wrote()
	for _, done := range waiting {
		done <- firstErr
	}
	return firstErr
}

// takeWrites returns what is to be written, with values that sealOp still has
// to seal, and who waits for it.
func (s *sessions) takeWrites(lazy bool) (ops store.Batch, keys []sessionKey, waiting []chan<- error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.writing
	w.now, w.urgent = w.urgent, make(map[sessionKey]struct{})
	if lazy {
		for key := range w.lazy {
			w.now[key] = struct{}{}
		}
		clear(w.lazy)
	}
	for key := range w.now {
		op := store.Op{Action: store.Delete, Key: record.PrefixSession + hex.EncodeToString(key[:])}
		if known := s.all[key]; known != nil {
			op.Action, op.Value = store.Put, marshalSession(known)
		}
		ops, keys = append(ops, op), append(keys, key)
	}
	waiting, w.waiting = w.waiting, nil
	return ops, keys, waiting
}

// sealOp seals the value of an operation of takeWrites.
func (e *Engine) sealOp(op *store.Op) {
	if op.Action == store.Put {
		op.Value = e.keys.Seal(record.KindSession, op.Key, op.Value)
	}
}

func (s *sessions) writeAgain(keys []sessionKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		s.writing.note(key, false)
	}
}

func (s *sessions) wrote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing.now = nil
}

// loadSessions reads the sessions of before. They decide nothing that a sign-in
// could gain by, so those that cannot be opened are reported and removed.
func (e *Engine) loadSessions(ctx context.Context) error {
	after := ""
	for {
		page, err := e.store.Scan(ctx, record.PrefixSession, after, scanPage)
		if err != nil {
			return storeError("read sessions", err)
		}
		for _, entry := range page {
			after = entry.Key
			e.loadSession(entry)
		}
		if len(page) < scanPage {
			break
		}
	}
	e.sessions.expire(e.opt.Now())
	return nil
}

func (e *Engine) loadSession(entry store.Entry) {
	octets, err := hex.DecodeString(strings.TrimPrefix(entry.Key, record.PrefixSession))
	if err != nil || len(octets) != len(sessionKey{}) {
		return
	}
	key := sessionKey(octets)
	var rec record.Session
	e.sessions.mu.Lock()
	defer e.sessions.mu.Unlock()
	if err := e.open(record.KindSession, entry.Key, entry.Value, &rec); err != nil {
		e.sessions.damaged = append(e.sessions.damaged, entry.Key)
		e.sessions.writing.note(key, false)
		return
	}
	e.sessions.add(unmarshalSession(key, &rec))
}
