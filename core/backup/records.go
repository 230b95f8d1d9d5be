package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// A recordKind says how records under a prefix are kept.
type recordKind struct {
	prefix, kind string
	fresh        func() proto.Message
}

// recordKinds are all kinds of records. A record of none of them is of a newer
// version.
func recordKinds() [6]recordKind {
	return [...]recordKind{
		{record.PrefixAccount, record.KindAccount, func() proto.Message { return new(record.Account) }},
		{record.PrefixActivity, record.KindActivity, func() proto.Message { return new(record.Activity) }},
		{record.PrefixLocal, record.KindLocal, func() proto.Message { return new(record.Local) }},
		{record.PrefixFact, record.KindFact, func() proto.Message { return new(record.Fact) }},
		{record.PrefixSession, record.KindSession, func() proto.Message { return new(record.Session) }},
		{record.KeyMeta, record.KindMeta, func() proto.Message { return new(record.Meta) }},
	}
}

// errNewer: the record is of a version after this one.
var errNewer = errors.New("it was written by a newer version; use a newer keywicket")

// openRecord opens and parses the record at key.
func openRecord(keys *keyring.Keyring, key string, sealed []byte) (proto.Message, error) {
	for _, k := range recordKinds() {
		if !strings.HasPrefix(key, k.prefix) {
			continue
		}
		m := k.fresh()
		plain, err := keys.Open(k.kind, key, sealed)
		if err == nil {
			err = proto.Unmarshal(plain, m)
			clear(plain)
		}
		return m, err
	}
	return nil, errNewer
}

// sealRecord is the reverse of openRecord, under the newest key.
func sealRecord(keys *keyring.Keyring, key string, m proto.Message) ([]byte, error) {
	plain, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	for _, k := range recordKinds() {
		if strings.HasPrefix(key, k.prefix) {
			return keys.Seal(k.kind, key, plain), nil
		}
	}
	return nil, errNewer
}

// checkRecord says why a record would be of no use in a store.
func checkRecord(keys *keyring.Keyring, key string, sealed []byte) error {
	m, err := openRecord(keys, key, sealed)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *record.Meta:
		if m.Format > record.Format {
			return errNewer
		}
	case *record.Account:
		return checkTags(keys, m)
	}
	return nil
}

// checkTags says whether every text of an account can still be told: its tags
// need keys that the keyring has.
func checkTags(keys *keyring.Keyring, rec *record.Account) error {
	tags := append([]*record.Tag(nil), rec.TwoStep.GetRecovery()...)
	for _, p := range rec.AppPasswords {
		tags = append(tags, p.Tag)
		if p.Previous != nil {
			tags = append(tags, p.Previous)
		}
	}
	for _, t := range tags {
		inner, err := keys.Open("inner", hex.EncodeToString(t.GetTag()), t.GetInner())
		clear(inner)
		if err != nil {
			return err
		}
	}
	return nil
}

// readRecord reads the record at key of a store into m. Its error wraps
// store.ErrNotFound if there is none.
func readRecord(ctx context.Context, s store.Store, keys *keyring.Keyring, key string, m proto.Message) error {
	e, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	found, err := openRecord(keys, key, e.Value)
	if err != nil {
		return fmt.Errorf("the record %q cannot be opened: %w", key, err)
	}
	proto.Reset(m)
	proto.Merge(m, found)
	return nil
}
