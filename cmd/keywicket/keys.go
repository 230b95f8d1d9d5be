package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// ListKeys tells how many records need each root key.
func (d *daemon) ListKeys(ctx context.Context) (*controlv1.ListKeysResponse, error) {
	use, err := d.engine.KeyUse(ctx)
	if err != nil {
		return nil, err
	}
	return d.listKeys(use), nil
}

func (d *daemon) listKeys(use map[keyring.KeyID]int) *controlv1.ListKeysResponse {
	r := &controlv1.ListKeysResponse{Resealing: d.engine.Stats().Resealing}
	for _, k := range d.keys.Keys() {
		r.Keys = append(r.Keys, &controlv1.RootKey{Id: k.ID.String(), Created: timestamppb.New(k.Created), Records: uint64(use[k.ID])})
	}
	return r
}

// RotateKey makes a fresh root key. The file is changed first: a daemon that is
// killed afterwards finds both keys there, and goes on.
func (d *daemon) RotateKey(ctx context.Context) (*controlv1.ListKeysResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.sameKeyring(); err != nil {
		return nil, err
	}
	rotated, err := d.keys.Rotate(time.Now())
	if err != nil {
		return nil, &core.Error{Op: "keyring", Kind: core.KindConflict, Err: err}
	}
	if err := rotated.ReplaceFile(d.file.Keyring); err != nil {
		return nil, &core.Error{Op: "keyring", Kind: core.KindInternal, Err: err}
	}
	d.keys.Replace(rotated)
	d.engine.KeyRotated(ctx)
	d.log.Info("the keyring has a newer key", "id", rotated.Newest().String())
	return d.listKeys(nil), nil
}

// sameKeyring makes sure that the file holds what this process works with, so
// that no key is lost which somebody else put there.
func (d *daemon) sameKeyring() error {
	file, err := keyring.ReadFile(d.file.Keyring)
	if err != nil {
		return &core.Error{Op: "keyring", Kind: core.KindInternal, Err: err}
	}
	if !slices.Equal(file.IDs(), d.keys.IDs()) {
		return &core.Error{Op: "keyring", Kind: core.KindConflict, Err: errors.New("the keyring file has other keys than the running daemon; restart it first")}
	}
	return nil
}

// RetireKey takes an old root key away, if nothing needs it. The file is
// changed last: until then a start finds the key.
func (d *daemon) RetireKey(ctx context.Context, id string) (*controlv1.ListKeysResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.sameKeyring(); err != nil {
		return nil, err
	}
	all := d.keys.IDs()
	i := slices.IndexFunc(all, func(k keyring.KeyID) bool { return k.String() == id })
	if i < 0 {
		return nil, &core.Error{Op: "keyring", Kind: core.KindNotFound, Err: fmt.Errorf("the keyring has no key %q", id)}
	}
	retired, err := d.keys.Retire(all[i])
	if err != nil {
		return nil, &core.Error{Op: "keyring", Kind: core.KindConflict, Err: err}
	}
	if err := d.unused(ctx, all[i]); err != nil {
		return nil, err
	}
	before, err := keyring.ReadFile(d.file.Keyring)
	if err != nil {
		return nil, &core.Error{Op: "keyring", Kind: core.KindInternal, Err: err}
	}
	d.keys.Replace(retired)
	// What was sealed while the records were counted is found by counting once
	// more, now that nothing can be sealed with the key.
	err = d.unused(ctx, all[i])
	if err == nil {
		err = retired.ReplaceFile(d.file.Keyring)
	}
	if err != nil {
		d.keys.Replace(before)
		return nil, err
	}
	d.engine.KeyRetired(ctx, all[i])
	d.log.Info("a key was retired", "id", id)
	return d.ListKeys(ctx)
}

// unused returns an error while a record needs the key.
func (d *daemon) unused(ctx context.Context, id keyring.KeyID) error {
	use, err := d.engine.KeyUse(ctx)
	if err != nil {
		return err
	}
	if n := use[id]; n > 0 {
		return &core.Error{Op: "keyring", Kind: core.KindConflict, Err: fmt.Errorf("%d records need the key %s still; wait until keyring check shows 0, and look at the log if it does not fall", n, id)}
	}
	return nil
}
