package watch

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/keywicket/keywicket/core/store"
)

func change(key string, rev store.Revision, value []byte) []store.Event {
	return []store.Event{{Entry: store.Entry{Key: key, Value: value, Revision: rev}}}
}

// What waits for a watcher that does not read is bounded, in events and in
// octets, and the loss is told before anything that came later.
func TestSlowWatcherIsBounded(t *testing.T) {
	for name, value := range map[string][]byte{"events": nil, "octets": make([]byte, store.MaxValue)} {
		t.Run(name, func(t *testing.T) {
			h := New()
			defer h.Close()
			c, err := h.Watch(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			const last = 3 * maxEvents
			for i := range last {
				h.Publish(change("k", store.Revision(i+1), value))
			}
			for w := range h.watchers {
				w.mu.Lock()
				if len(w.queue) > maxEvents || w.octets > maxOctets {
					t.Errorf("%d events of %d octets wait", len(w.queue), w.octets)
				}
				w.mu.Unlock()
			}
			resets, before := 0, store.Revision(0)
			for before != last {
				e := <-c
				if e.Reset { // what is published from here on has room
					h.Publish(change("k", last, nil))
				}
				switch {
				case e.Reset:
					resets++
					before = 0
				case before != 0 && e.Entry.Revision != before+1:
					t.Fatalf("%d comes after %d without a Reset", e.Entry.Revision, before)
				default:
					before = e.Entry.Revision
				}
			}
			if resets == 0 {
				t.Error("no Reset")
			}
		})
	}
}

func TestClose(t *testing.T) {
	h := New()
	var channels []<-chan store.Event
	for i := range 8 {
		c, err := h.Watch(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		channels = append(channels, c)
		h.Publish(change(fmt.Sprint(i), 1, nil)) // one that nobody reads
	}
	h.Close()
	h.Close()
	for _, c := range channels {
		if _, open := <-c; open {
			if _, open = <-c; open {
				t.Error("a channel is open after Close")
			}
		}
	}
	if _, err := h.Watch(context.Background(), ""); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Watch after Close: %v", err)
	}
}

// A watch that ended leaves nothing behind.
func TestEndedWatchIsForgotten(t *testing.T) {
	h := New()
	defer h.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c, err := h.Watch(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range c {
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) != 0 {
		t.Errorf("%d watchers remain", len(h.watchers))
	}
}
