package core

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
)

// A room that is left has nothing of the record in it.
func TestLeftRoomIsEmpty(t *testing.T) {
	plain, err := proto.Marshal(&record.Account{DirectoryId: "x", TwoStep: &record.TwoStep{Secret: []byte("secret")}})
	if err != nil {
		t.Fatal(err)
	}
	room := &record.Room{Plain: plain}
	rec, err := room.Reader.Account(plain)
	if err != nil || string(rec.TwoStep.Secret) != "secret" {
		t.Fatal(rec, err)
	}
	new(Engine).rooms.Leave(room)
	if len(bytes.Trim(plain, "\x00")) > 0 || !proto.Equal(rec, &record.Account{}) {
		t.Errorf("%q and %v are left", plain, rec)
	}
}
