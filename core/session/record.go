package session

import (
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

// marshal returns the stored form of r, which is still to be sealed. What
// protobuf could refuse is text that is no UTF-8, and there is none in r.
func (r *row) marshal() []byte {
	b, _ := proto.Marshal(&record.Session{
		Account: r.Account, Shown: r.Account, AccountId: r.of.AccountID[:], AppPasswordId: r.of.AppPassword[:], AppPasswordName: r.AppPasswordName,
		Client: r.Client, Id: []byte(r.id), Device: r.Device, Port: r.port, Address: r.Address, Handle: r.Handle,
		Since: r.Since.UnixMilli(), At: r.at.UnixMilli(), Seen: r.seen.UnixMilli(), Issued: r.of.issued,
		OctetsIn: r.OctetsIn, OctetsOut: r.OctetsOut, Every: int64(r.every / time.Second), Replaced: r.replaced, Node: r.node,
	})
	return b
}

func newRowOf(key rowKey, rec *record.Session, rev store.Revision) *row {
	r := &row{
		Session: Session{
			Account: rec.Account, AppPassword: hex.EncodeToString(rec.AppPasswordId), AppPasswordName: rec.AppPasswordName, Client: rec.Client,
			Device: rec.Device, Address: rec.Address, Since: fromMillis(rec.Since), OctetsIn: rec.OctetsIn, OctetsOut: rec.OctetsOut, Handle: rec.Handle,
		},
		of:  token{Owner: Owner{Account: rec.Account}, issued: rec.Issued},
		key: key, id: string(rec.Id), port: rec.Port, at: fromMillis(rec.At), seen: fromMillis(rec.Seen),
		every: time.Duration(rec.Every) * time.Second, replaced: rec.Replaced, node: rec.Node, rev: rev,
	}
	copy(r.of.AccountID[:], rec.AccountId)
	copy(r.of.AppPassword[:], rec.AppPasswordId)
	return r
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
