package storetest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// A mortal is a store whose process can be killed, and which is then opened
// anew from what lose makes of the batches that it acknowledged.
type mortal struct {
	mu   sync.Mutex
	log  []store.Batch
	dead bool
	now  store.Store
}

// open begins a life with the batches that survived the last one.
func (m *mortal) open(ctx context.Context, t *testing.T, lose func([]store.Batch) []store.Batch) (store.Store, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log, m.dead, m.now = lose(m.log), false, open(t)
	for _, b := range m.log {
		if _, err := m.now.Apply(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	right := m.now
	s := &faulty{Store: right, apply: func(ctx context.Context, b store.Batch) (store.Revision, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.dead || m.now != right {
			return 0, store.ErrUnavailable
		}
		r, err := right.Apply(ctx, b)
		if err == nil {
			m.log = append(m.log, b)
		}
		return r, err
	}}
	return s, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dead = true
	}
}

func TestDurableFindsLoss(t *testing.T) {
	half := func(b store.Batch) store.Batch { return b[:1] }
	for name, tt := range map[string]struct {
		lose  func(log []store.Batch) []store.Batch
		found bool
	}{
		"nothing is lost":        {func(log []store.Batch) []store.Batch { return log }, false},
		"all is lost":            {func([]store.Batch) []store.Batch { return nil }, true},
		"the last ten are lost":  {func(log []store.Batch) []store.Batch { return log[:max(len(log)-10, 0)] }, true},
		"half of one is lost":    {func(log []store.Batch) []store.Batch { return mapLast(log, half) }, true},
		"the order is not kept":  {reversed, true},
		"revisions begin at one": {compacted, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			m := new(mortal)
			err := CheckDurable(ctx, func() (store.Store, func()) { return m.open(ctx, t, tt.lose) })
			if (err != nil) != tt.found {
				t.Errorf("found: %v", err)
			}
			t.Log(err)
		})
	}
}

// mapLast changes the last batch with two operations.
func mapLast(log []store.Batch, change func(store.Batch) store.Batch) []store.Batch {
	for i := len(log) - 1; i >= 0; i-- {
		if len(log[i]) == 2 {
			log[i] = change(log[i])
			break
		}
	}
	return log
}

func reversed(log []store.Batch) []store.Batch {
	for i, j := 0, len(log)-1; i < j; i, j = i+1, j-1 {
		log[i], log[j] = log[j], log[i]
	}
	return log
}

// compacted keeps of each key the last state alone, so that replaying it takes
// fewer revisions than were given out.
func compacted(log []store.Batch) []store.Batch {
	last := make(map[string]int)
	for i, b := range log {
		last[b[0].Key] = i
	}
	var kept []store.Batch
	for i, b := range log {
		if last[b[0].Key] == i {
			kept = append(kept, b)
		}
	}
	return kept
}

// What Dial returns is as good as the store at the other end, but for Watch.
func TestDialedStoreKeepsContract(t *testing.T) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			s := memstore.New()
			ask, serve := dialed(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := c.Check(ctx, &faulty{Store: ask, watch: s.Watch})
			if err != nil && !errors.Is(err, ErrNotOffered) {
				t.Error(err)
			}
			serve()
			if _, err := ask.Get(ctx, "k"); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("Get after the other end is gone: %v", err)
			}
		})
	}
}

// dialed serves s over pipes until end is called.
func dialed(t *testing.T, s *memstore.Store) (ask store.Store, end func()) {
	requests, toServer := io.Pipe()
	replies, toClient := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Serve(s, requests, toClient)
		_ = toClient.Close()
		done <- err
	}()
	return Dial(replies, toServer), func() {
		_ = toServer.Close()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Serve does not end")
		}
		_ = s.Close()
	}
}
