package pam

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func full() Request {
	return Request{Type: Authenticate, Nonce: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		Service: "sshd", User: "alain", RHost: "192.0.2.7", TTY: "ssh", Password: []byte("kfmw")}
}

// The octets are fixed: the module in C and programs of others have them too.
func TestWire(t *testing.T) {
	r := full()
	const request = "00000035" + "01" + "01" + "000102030405060708090a0b0c0d0e0f" +
		"0004" + "73736864" + "0005" + "616c61696e" + "0009" + "3139322e302e322e37" + "0003" + "737368" + "0004" + "6b666d77"
	if got := hex.EncodeToString(r.appendTo(nil)); got != request {
		t.Errorf("request\n%s\nwant\n%s", got, request)
	}
	const reply = "00000013" + "01" + "81" + "000102030405060708090a0b0c0d0e0f" + "02"
	if got := hex.EncodeToString(appendReply(nil, &r, Deny)); got != reply {
		t.Errorf("reply\n%s\nwant\n%s", got, reply)
	}
	if v, err := parseReply(appendReply(nil, &r, Deny), &r); v != Deny || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// Each field can be as short and as long as its limits say, and no more.
func TestLimits(t *testing.T) {
	long := strings.Repeat("x", 513)
	type try struct {
		name string
		edit func(r *Request, n int)
		good []int
		bad  []int
	}
	tries := []try{
		{"service", func(r *Request, n int) { r.Service = long[:n] }, []int{1, 64}, []int{0, 65}},
		{"user", func(r *Request, n int) { r.User = long[:n] }, []int{1, 256}, []int{0, 257}},
		{"rhost", func(r *Request, n int) { r.RHost = long[:n] }, []int{0, 256}, []int{257}},
		{"tty", func(r *Request, n int) { r.TTY = long[:n] }, []int{0, 64}, []int{65}},
		{"password", func(r *Request, n int) { r.Password = []byte(long[:n]) }, []int{1, 512}, []int{0, 513}},
		{"password of account", func(r *Request, n int) { r.Type, r.Password = Account, []byte(long[:n]) }, []int{0}, []int{1}},
	}
	for _, tt := range tries {
		for _, n := range append(tt.good, tt.bad...) {
			r := full()
			tt.edit(&r, n)
			got, err := readRequest(bytes.NewReader(r.appendTo(nil)), make([]byte, maxRequest))
			good := n == tt.good[0] || n == tt.good[len(tt.good)-1]
			if good && (err != nil || !reflect.DeepEqual(got, r)) {
				t.Errorf("%s of %d: %v, %+v", tt.name, n, err, got)
			}
			if !good && !errors.Is(err, errMalformed) {
				t.Errorf("%s of %d is taken: %v", tt.name, n, err)
			}
		}
	}
}

// A NUL in any field, another version or type, octets after the end, and a
// length that lies, are malformed.
func TestMalformed(t *testing.T) {
	r := full()
	good := r.appendTo(nil)
	edited := func(edit func(b []byte) []byte) []byte { return edit(bytes.Clone(good)) }
	tries := map[string][]byte{
		"version 0":     edited(func(b []byte) []byte { b[4] = 0; return b }),
		"version 2":     edited(func(b []byte) []byte { b[4] = 2; return b }),
		"type 0":        edited(func(b []byte) []byte { b[5] = 0; return b }),
		"type 3":        edited(func(b []byte) []byte { b[5] = 3; return b }),
		"a reply":       edited(func(b []byte) []byte { b[5] |= replyBit; return b }),
		"length 0":      edited(func(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, 0) }),
		"length 17":     edited(func(b []byte) []byte { return append([]byte{0, 0, 0, 17}, b[4:21]...) }),
		"length 18":     edited(func(b []byte) []byte { return append([]byte{0, 0, 0, 18}, b[4:22]...) }),
		"length 4097":   edited(func(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, 4097) }),
		"length 2^32-1": edited(func(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, 1<<32-1) }),
		"one more":      edited(func(b []byte) []byte { binary.BigEndian.PutUint32(b, uint32(len(b)-4+1)); return append(b, 'x') }),
		"one less":      edited(func(b []byte) []byte { binary.BigEndian.PutUint32(b, uint32(len(b)-4-1)); return b[:len(b)-1] }),
		"field beyond":  edited(func(b []byte) []byte { b[22], b[23] = 0xff, 0xff; return b }),
	}
	for _, at := range []string{"sshd", "alain", "192", "ssh\x00", "kfmw"} {
		tries["NUL in "+at] = edited(func(b []byte) []byte { b[bytes.LastIndex(b, []byte(at))] = 0; return b })
	}
	for name, frame := range tries {
		if got, err := readRequest(bytes.NewReader(frame), make([]byte, maxRequest)); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
	for n := range good {
		if _, err := readRequest(bytes.NewReader(good[:n]), make([]byte, maxRequest)); err == nil || errors.Is(err, errMalformed) {
			t.Errorf("cut after %d octets: %v", n, err)
		}
	}
}

// A reply is taken whole and right, or not at all.
func TestReply(t *testing.T) {
	for _, kind := range []uint8{Authenticate, Account} {
		r := full()
		r.Type = kind
		for v := range 256 {
			got, err := parseReply(appendReply(nil, &r, Verdict(v)), &r)
			good := v >= 1 && v <= 3 || kind == Account && v >= 1 && v <= 5
			if good != (err == nil) || good && got != Verdict(v) || !good && got != 0 {
				t.Errorf("verdict %d of type %d: %v, %v", v, kind, got, err)
			}
		}
		whole := appendReply(nil, &r, Allow)
		for i := range len(whole) - 1 {
			lie := bytes.Clone(whole)
			lie[i] ^= 0x80
			if v, err := parseReply(lie, &r); err == nil || v != 0 {
				t.Errorf("octet %d was changed: %v", i, v)
			}
			if v, err := parseReply(whole[:i], &r); err == nil || v != 0 {
				t.Errorf("cut after %d octets: %v", i, v)
			}
		}
	}
}

// Whatever comes: no panic, nothing beyond the frame is read, and what is taken
// is written as the same octets.
func FuzzRequest(f *testing.F) {
	r := full()
	f.Add(r.appendTo(nil))
	r.Type, r.Password = Account, nil
	f.Add(r.appendTo(nil))
	f.Add([]byte{0, 0, 0, 18})
	f.Add([]byte{0, 0, 16, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		got, err := readRequest(in, make([]byte, maxRequest))
		if err != nil {
			if got.User != "" || got.Password != nil {
				t.Errorf("%v, and a request: %+v", err, got)
			}
			return
		}
		read := len(b) - in.Len()
		if again := got.appendTo(nil); !bytes.Equal(again, b[:read]) {
			t.Errorf("%x was written as %x", b[:read], again)
		}
		for i, field := range []string{got.Service, got.User, got.RHost, got.TTY, string(got.Password)} {
			limit := limits(got.Type)[i]
			if len(field) < limit[0] || len(field) > limit[1] || strings.Contains(field, "\x00") {
				t.Errorf("field %d is %q", i+1, field)
			}
		}
		if rest, _ := io.ReadAll(in); len(rest)+read != len(b) {
			t.Error("octets are lost")
		}
	})
}
