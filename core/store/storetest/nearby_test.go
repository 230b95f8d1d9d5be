package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// A nearby is a right store with a wrong AtHand.
type nearby struct {
	store.Store
	wrong func(room []byte, key string, e store.Entry, ok bool) ([]byte, store.Revision, bool)
}

func (s nearby) AtHand(room []byte, key string) ([]byte, store.Revision, bool) {
	e, err := s.Get(context.Background(), key)
	return s.wrong(room, key, e, err == nil)
}

func TestFindsWrongAtHand(t *testing.T) {
	seen := map[string]store.Entry{}
	for name, wrong := range map[string]func(room []byte, key string, e store.Entry, ok bool) ([]byte, store.Revision, bool){
		"the value alone": func(_ []byte, _ string, e store.Entry, ok bool) ([]byte, store.Revision, bool) {
			return e.Value, e.Revision, ok
		},
		"another revision": func(room []byte, _ string, e store.Entry, ok bool) ([]byte, store.Revision, bool) {
			return append(room, e.Value...), e.Revision - 1, ok
		},
		"the room is used": func(room []byte, _ string, _ store.Entry, _ bool) ([]byte, store.Revision, bool) {
			return append(room, "x"...), 0, false
		},
		"what is not there": func(room []byte, _ string, e store.Entry, _ bool) ([]byte, store.Revision, bool) {
			return append(room, e.Value...), e.Revision, true
		},
		"what was there before": func(room []byte, key string, e store.Entry, ok bool) ([]byte, store.Revision, bool) {
			if before, known := seen[key]; known {
				return append(room, before.Value...), before.Revision, true
			}
			if ok {
				seen[key] = e
			}
			return append(room, e.Value...), e.Revision, ok
		},
	} {
		if err := checkAtHand(t.Context(), nearby{memstore.New(), wrong}); err == nil {
			t.Errorf("%s: not found", name)
		} else {
			t.Log(name, err)
		}
	}
	if err := checkAtHand(t.Context(), &faulty{Store: memstore.New()}); !errors.Is(err, ErrNotOffered) {
		t.Error(err)
	}
}
