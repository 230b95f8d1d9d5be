package local

import (
	"testing"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// A record that was read is wiped, and what was made of it stands alone.
func TestRoomIsWiped(t *testing.T) {
	k := ring(t)
	d := New(memstore.New(), k, Options{Cost: quick})
	e := store.Entry{Key: record.PrefixLocal + name}
	op, err := d.put(name, &record.Local{Id: []byte("0123456789abcdef"), Enabled: true, Groups: []string{"staff"}, Password: "$argon2id$"})
	if err != nil {
		t.Fatal(err)
	}
	e.Value = op.Value
	r := &record.Room{}
	rec, err := d.openIn(r, e)
	if err != nil {
		t.Fatal(err)
	}
	a, plain := account(name, rec), r.Plain
	d.rooms.Leave(r)
	for _, octet := range plain {
		if octet != 0 {
			t.Fatalf("left is %q", plain)
		}
	}
	if rec.Password != "" {
		t.Error("the reader has the password still")
	}
	alone, err := d.open(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.open(store.Entry{Key: e.Key, Value: e.Value}); err != nil { // in the same room, perhaps
		t.Fatal(err)
	}
	if string(alone.Id) != "0123456789abcdef" || alone.Password != "$argon2id$" || a.Groups[0] != "staff" || a.ID != "30313233343536373839616263646566" {
		t.Errorf("%v, %v", alone, a)
	}
}
