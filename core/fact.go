package core

import (
	"context"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// Remember keeps, for good and for every node, that a bridge once saw name:
// "radius/signs/vpn1". To remember what is known already is no error.
func (e *Engine) Remember(ctx context.Context, name string) error {
	op, err := e.put(record.KindFact, record.PrefixFact+name, &record.Fact{Since: toMillis(e.opt.Now())}, 0)
	if err != nil {
		return err
	}
	_, err = e.store.Apply(ctx, store.Batch{op})
	if err = storeError("remember", err); KindOf(err) == KindConflict {
		return nil
	}
	return err
}

// Remembers says whether name was remembered. A record that cannot be opened
// is an error, and neither yes nor no.
func (e *Engine) Remembers(ctx context.Context, name string) (bool, error) {
	var fact record.Fact
	_, err := e.read(ctx, record.KindFact, record.PrefixFact+name, &fact)
	if KindOf(err) == KindNotFound {
		return false, nil
	}
	return err == nil, err
}
