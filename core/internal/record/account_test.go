package record_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/internal/record"
)

func marshal(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func tag(n int) *record.Tag {
	return &record.Tag{Key: []byte("key-4567"), Tag: fmt.Appendf(nil, "tag-%012d", n), Inner: []byte(strings.Repeat("i", 89))}
}

// account returns one with every field.
func account(passwords int) *record.Account {
	a := &record.Account{
		Generation: 300, Id: []byte("0123456789abcdef"), DirectoryId: "directory", Created: 1_800_000_000_000, Removed: true, TwoStepThere: true,
		TwoStep: &record.TwoStep{
			On: true, Since: 1, Secret: []byte("secret"), LastStep: -1, Recovery: []*record.Tag{tag(1), tag(2)}, Pending: []byte("pending"), PendingSince: 3,
		},
		Remembered: []*record.Remembered{{Id: []byte("gone"), Name: "gone", Tag: tag(3), Deleted: 4}, {}},
	}
	for i := range passwords {
		a.AppPasswords = append(a.AppPasswords, &record.AppPassword{
			Id: fmt.Appendf(nil, "id-%05d", i), Name: fmt.Sprint("téléphone ", i), Profile: "default", Letters: 20, Tag: tag(i), Previous: tag(-i),
			PreviousUntil: 5, Services: []string{"radius/*", "pam/sshd"}[:1+i%2], Methods: []string{"cleartext", "chap"}[:1+i%2],
			Material: map[string][]byte{"chap": []byte("sealed"), "": {}}, PinDevice: true, Pin: "device", Suspended: true, Created: 6,
			Expires: 7, Rotated: 8, Used: 9, PreviousMaterial: map[string][]byte{"mschapv2": nil}, Reply: []*record.Reply{{Name: "Class", Value: "x"}, {}},
		})
	}
	return a
}

// Every field of every message arrives: one that is added is forgotten here no
// more than there.
func TestReader(t *testing.T) {
	var r record.Reader
	for _, want := range []*record.Account{{}, {AppPasswords: []*record.AppPassword{{}}}, account(1), account(40), account(2), {}, account(41)} {
		if got, err := r.Account(marshal(t, want)); err != nil || !proto.Equal(got, want) {
			t.Errorf("%v, error %v; want %v", got, err, want)
		}
	}
	full := account(2)
	for _, m := range []proto.Message{full, full.TwoStep, full.AppPasswords[1], full.Remembered[0], full.AppPasswords[0].Tag, full.AppPasswords[0].Reply[0]} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if f := fields.Get(i); !m.ProtoReflect().Has(f) {
				t.Errorf("%s is empty: this test shows nothing of it", f.FullName())
			}
		}
	}
}

// A field of a later version, in whichever message, is kept.
func TestReaderKeepsUnknown(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)
	full := account(1)
	for _, m := range []proto.Message{full, full.TwoStep, full.AppPasswords[0], full.Remembered[0], full.AppPasswords[0].Tag, full.AppPasswords[0].Reply[0]} {
		m.ProtoReflect().SetUnknown(unknown)
		b := marshal(t, full)
		if got, err := new(record.Reader).Account(b); err != nil || string(marshal(t, got)) != string(b) {
			t.Errorf("in %T: %v, %v", m, got, err)
		}
		m.ProtoReflect().SetUnknown(nil)
	}
}

// The parts of what is read share no memory with each other, and material none
// with what it was read from.
func TestReaderParts(t *testing.T) {
	want := account(3)
	b := marshal(t, want)
	got, err := new(record.Reader).Account(b)
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Repeat("x", 40) // so that it reaches what stands behind
	for _, a := range []*record.Account{want, got} {
		for _, p := range a.AppPasswords[:2] {
			p.Id, p.Tag.Tag = append(p.Id, more...), append(p.Tag.Tag, more...)
			p.Services, p.Methods = append(p.Services, "x"), append(p.Methods, "x")
			p.Services[0], p.Methods[0] = "y", "y"
		}
		a.AppPasswords = append(a.AppPasswords[:1], a.AppPasswords[2:]...)
	}
	if !proto.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	clear(b)
	if m := got.AppPasswords[0].Material["chap"]; string(m) != "sealed" {
		t.Errorf("material became %q", m)
	}
}

// Where proto need not decide, few allocations are made, and none of what is
// there already.
func TestReaderAllocates(t *testing.T) {
	a := account(40)
	for _, p := range a.AppPasswords {
		p.Material, p.PreviousMaterial, p.Reply, p.Services, p.Methods = nil, nil, nil, p.Services[:1], p.Methods[:1]
	}
	b := marshal(t, a)
	var r record.Reader
	n := testing.AllocsPerRun(100, func() {
		if _, err := r.Account(b); err != nil {
			t.Error(err)
		}
	})
	if n > 150 { // two texts of each, and some for all
		t.Errorf("%v allocations", n)
	}
}

// FuzzReader: whatever a record holds, it is read as proto reads it.
func FuzzReader(f *testing.F) {
	f.Add([]byte{})
	full := marshal(f, account(2))
	f.Add(full)
	f.Add(append(full, full...))
	f.Add([]byte("\x12\x00"))                 // an id without octets
	f.Add([]byte("\x1a\x01\xff"))             // no UTF-8
	f.Add([]byte("\x3a\x04\x2a\x00\x2a\x00")) // two tags of an app password
	f.Add([]byte("\x28\x80\x02"))             // a bool of two octets
	f.Add([]byte("\x0b\x0c"))                 // a group
	f.Add([]byte("\x00\x00"))                 // field 0
	f.Add([]byte("\x3a\x06\x20\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, before := &record.Account{}, string(b)
		wantErr := proto.Unmarshal(b, want)
		var r record.Reader
		if _, err := r.Account(full); err != nil {
			t.Fatal(err)
		}
		got, err := r.Account(b)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, proto says %v", err, wantErr)
		}
		if string(b) != before {
			t.Fatal("the record was changed")
		}
		if err == nil && !proto.Equal(got, want) {
			t.Fatalf("%v\nproto has %v", got, want)
		}
	})
}

// local returns one with every field that this version writes.
func local(groups int) *record.Local {
	l := &record.Local{Id: []byte("0123456789abcdef"), Enabled: true, Password: "$argon2id$", Created: 5}
	for i := range groups {
		l.Groups = append(l.Groups, fmt.Sprint("groupe ", i))
	}
	return l
}

// Every field of a Local arrives, also those that proto reads; and what stood there
// before is gone.
func TestLocal(t *testing.T) {
	full := local(2)
	full.Attributes = map[string]string{"a": "b"}
	fields := full.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); !full.ProtoReflect().Has(f) {
			t.Errorf("%s is empty: this test shows nothing of it", f.FullName())
		}
	}
	var r record.Reader
	for _, want := range []*record.Local{full, {}, local(0), local(3), full, local(1), {}} {
		if got, err := r.Local(marshal(t, want)); err != nil || !proto.Equal(got, want) {
			t.Errorf("%v, error %v; want %v", got, err, want)
		}
	}
}

func FuzzLocal(f *testing.F) {
	f.Add([]byte{})
	full := marshal(f, local(2))
	f.Add(full)
	f.Add(append(full, full...))
	f.Add([]byte("\x1a\x01\xff"))                       // no UTF-8
	f.Add([]byte("\x32\x06\x0a\x01a\x12\x01b\x10\x02")) // an attribute, and a bool of another value
	f.Add([]byte("\x10\x80\x02\x0b\x0c"))               // a bool of two octets, a group
	f.Fuzz(func(t *testing.T, b []byte) {
		want := &record.Local{}
		wantErr := proto.Unmarshal(b, want)
		var r record.Reader
		if _, err := r.Local(full); err != nil {
			t.Fatal(err)
		}
		got, err := r.Local(b)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, proto says %v", err, wantErr)
		}
		if err == nil && !proto.Equal(got, want) {
			t.Fatalf("%v\nproto has %v", got, want)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	for _, n := range []int{1, 3, 40} {
		a := account(n)
		for _, p := range a.AppPasswords {
			p.Previous, p.Material, p.PreviousMaterial, p.Reply = nil, nil, nil, nil
		}
		plain := marshal(b, a)
		b.Run(fmt.Sprint(n, "_here"), func(b *testing.B) {
			b.ReportAllocs()
			var r record.Reader
			for b.Loop() {
				if _, err := r.Account(plain); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(n, "_proto"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := proto.Unmarshal(plain, &record.Account{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
