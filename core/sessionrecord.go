package core

import (
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
)

// marshalSession returns the stored form of s, which is still to be sealed. What
// protobuf could refuse is text that is no UTF-8, and there is none in s.
func marshalSession(s *session) []byte {
	b, _ := proto.Marshal(&record.Session{
		Account: s.name, Shown: s.Account, AccountId: s.account[:], AppPasswordId: s.password[:], AppPasswordName: s.AppPassword.Name,
		Client: s.Client, Id: []byte(s.id), Device: s.Device, Port: s.port, Address: s.Address, Handle: s.Handle,
		Since: toMillis(s.Since), At: toMillis(s.at), Seen: toMillis(s.seen), Issued: s.issued,
		OctetsIn: s.OctetsIn, OctetsOut: s.OctetsOut, Every: int64(s.every / time.Second), Replaced: s.replaced,
	})
	return b
}

func unmarshalSession(key sessionKey, r *record.Session) *session {
	s := &session{
		Session: Session{
			Account: r.Shown, AppPassword: Ref{ID: hex.EncodeToString(r.AppPasswordId), Name: r.AppPasswordName}, Client: r.Client,
			Device: r.Device, Address: r.Address, Since: fromMillis(r.Since), OctetsIn: r.OctetsIn, OctetsOut: r.OctetsOut, Handle: r.Handle,
		},
		token: token{issued: r.Issued, name: r.Account},
		key:   key, id: string(r.Id), port: r.Port, at: fromMillis(r.At), seen: fromMillis(r.Seen),
		every: time.Duration(r.Every) * time.Second, replaced: r.Replaced,
	}
	copy(s.account[:], r.AccountId)
	copy(s.password[:], r.AppPasswordId)
	return s
}
