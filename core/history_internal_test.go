package core

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
)

// TestHistoryIsTheRecord: what a history makes of a stored record and of what
// was added is what comes of reading all of it and writing all of it again.
func TestHistoryIsTheRecord(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_000)
	happenedAt := func(i int) *happened {
		h := &happened{at: at.Add(time.Duration(i) * time.Second), service: fmt.Sprint("pam/", i), method: "cleartext", device: "aa-bb", ref: Ref{ID: fmt.Sprint(i % 3), Name: "laptop"}}
		if i%4 == 0 {
			h.reason, h.source = ReasonExpired, "2001:db8::1"
		}
		return h
	}
	unknown := protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "of a later version")
	odd := protowire.AppendVarint(protowire.AppendTag(nil, fieldAttempts, protowire.VarintType), 7) // no attempt
	for stood := range 35 {
		for _, added := range [][]int{{0}, {1}, {31}, {32}, {60}, {2, 3}, {20, 20}} {
			var before happenings
			for i := range stood {
				before.add(happenedAt(i))
			}
			rec := &record.Activity{}
			err := before.mergeInto(rec)
			plain, err2 := proto.Marshal(rec)
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			for _, more := range [][]byte{nil, unknown, odd} {
				plain := append(bytes.Clone(more), plain...)
				want, h := &record.Activity{}, &history{}
				if err := proto.Unmarshal(plain, want); err != nil {
					t.Fatal(err)
				}
				if err := h.parse(plain); err != nil {
					t.Fatal(err)
				}
				n := stood
				for _, some := range added {
					var d happenings
					for range some {
						d.add(happenedAt(n))
						n++
					}
					if err := errors.Join(d.mergeInto(want), h.add(&d)); err != nil {
						t.Fatal(err)
					}
				}
				b, err := h.marshal(nil)
				if err != nil {
					t.Fatal(err)
				}
				got := &record.Activity{}
				err = proto.Unmarshal(b, got)
				for _, rec := range []*record.Activity{got, want} { // there is no order among them
					slices.SortFunc(rec.Usages, func(a, b *record.Usage) int { return strings.Compare(a.Id, b.Id) })
				}
				if err != nil || !proto.Equal(got, want) || len(got.Attempts) > historyLength {
					t.Fatalf("%d attempts stood there and %v were added, beside %x: %v\n got %v\nwant %v", stood, added, more, err, got, want)
				}
			}
		}
	}
}

// TestFirstRecord: what is written for an account at which nothing happened before
// is what comes of adding it to an empty record.
func TestFirstRecord(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_000)
	for _, n := range []int{1, 2, 5, historyLength} {
		var l happenings
		for i := range n {
			h := &happened{at: at.Add(time.Duration(i) * time.Second), service: "pam/sshd", source: "2001:db8::1", method: "cleartext", device: strings.Repeat("d", 200*i), ref: Ref{ID: fmt.Sprint(i % 3), Name: "laptop"}}
			if i%4 == 1 {
				h.reason = ReasonExpired
			}
			l.add(h)
		}
		want, got := &record.Activity{}, &record.Activity{}
		err := errors.Join(l.mergeInto(want), proto.Unmarshal(l.appendFirst(nil), got))
		if err != nil || !l.isFirst() || !proto.Equal(got, want) {
			t.Errorf("%d attempts: %v\n got %v\nwant %v", n, err, got, want)
		}
	}
	var l happenings
	for range historyLength + 1 {
		l.add(&happened{at: at})
	}
	if l.isFirst() {
		t.Error("more attempts than a record keeps")
	}
}

func FuzzHistory(f *testing.F) {
	keys, err := keyring.New(time.Now())
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range recordSeeds(f, keys) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		want, h := &record.Activity{}, &history{}
		whole := proto.Unmarshal(plain, want) == nil
		if err := h.parse(bytes.Clone(plain)); err != nil {
			if whole {
				t.Fatalf("%x is a record: %v", plain, err)
			}
			return
		}
		d := &happenings{}
		d.add(&happened{at: time.UnixMilli(1), service: "pam/sshd"})
		if err := h.add(d); err != nil {
			t.Fatal(err)
		}
		b, err := h.marshal(nil)
		if !whole {
			return
		}
		if err := d.mergeInto(want); err != nil {
			t.Fatal(err)
		}
		got := &record.Activity{}
		if err != nil || proto.Unmarshal(b, got) != nil || !proto.Equal(got, want) {
			t.Fatalf("%x: %v\n got %v\nwant %v", plain, err, got, want)
		}
	})
}
