package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The shapes of an app password, in letters. The last letter is the check
// letter, each other one is worth log2(23) = 4.52 bits.
const (
	Tiny     = 16 // 67.9 bits, for fields that take no more
	Standard = 20 // 85.9 bits
	Long     = 28 // 122.1 bits
)

// alphabet has the letters in the order of their values. Without i, l and o
// none is taken for another or for a digit, and all are on the first page of
// the keyboard of a phone, a TV or a game controller.
const alphabet = "abcdefghjkmnpqrstuvwxyz"

const (
	base  = len(alphabet) // 23, a prime: every value but 0 has an inverse
	group = 4             // letters between two hyphens
)

// The errors of Parse. Neither holds anything of what was typed.
var (
	// ErrShape: this is no app password at all.
	ErrShape = errors.New("not an app password")

	// ErrCheck: this looks like an app password, but the check letter is
	// wrong, so that it was mistyped and no account can have it.
	ErrCheck = errors.New("app password was mistyped")
)

// A Text is the text of an app password. The zero Text has no letters.
//
// It is copied by value and lives where it is declared, so that Wipe leaves
// nothing behind but the copies that were made. It prints as [app password].
// Two are never compared with ==, which stops at the first letter that
// differs; they are compared by their keyed tags.
type Text struct {
	_ [0]func() // makes == a compile error

	// masked holds the letters, each combined with the octet of mask at its
	// place: package fmt asks no Formatter about the unexported fields of a
	// caller's struct, nor for a %w that is no error or a %p that is no pointer.
	masked  [Long]byte
	letters uint8
}

// mask is drawn once for each process and never changes. It hides letters from
// a careless print, not from someone who reads the memory.
var mask = func() (m [Long]byte) {
	rand.Read(m[:]) // never fails (crypto/rand since Go 1.24)
	return m
}()

// Generate makes a Text of Tiny, Standard or Long letters from the octets of
// r, which is crypto/rand.Reader outside of tests. It fails for another number
// of letters and when r does.
func Generate(r io.Reader, letters int) (Text, error) {
	var t Text
	if !isShape(letters) {
		return t, fmt.Errorf("an app password of %d letters: %d, %d and %d are possible", letters, Tiny, Standard, Long)
	}
	var sum checksum
	var b [1]byte
	defer clear(b[:])
	for t.letters < uint8(letters-1) {
		v, err := draw(r, b[:])
		if err != nil {
			t.Wipe()
			return Text{}, err
		}
		sum.add(v)
		t.push(alphabet[v])
	}
	t.push(alphabet[sum.closing()])
	return t, nil
}

// draw returns a value below base, each with the same probability: 23 does not
// divide 256, so the octets from 253 on are thrown away. b is one octet of
// room, which the caller wipes.
func draw(r io.Reader, b []byte) (int, error) {
	const fair = 256 - 256%base // 253

	// A working source gives 64 such octets in a row once in 2^410 tries.
	for range 64 {
		if _, err := io.ReadFull(r, b); err != nil {
			return 0, fmt.Errorf("read randomness for an app password: %w", err)
		}
		if int(b[0]) < fair {
			return int(b[0]) % base, nil
		}
	}
	return 0, errors.New("read randomness for an app password: the source repeats itself")
}

func isShape(letters int) bool {
	return letters == Tiny || letters == Standard || letters == Long
}

// A checksum is the running sum of the letter values. With values x1 to xn a
// text is right if the sum of xi·5^i is 0 modulo 23. Divided by 5^n that is
// Horner's rule with the inverse of 5, which is 14.
type checksum uint32

func (c *checksum) add(value int) { *c = (*c*14 + checksum(value)) % checksum(base) }

// closing returns the value that makes the sum 0 when it is added next.
func (c checksum) closing() int { return (base - int(c)*14%base) % base }

func (t *Text) push(letter byte) {
	t.masked[t.letters] = letter ^ mask[t.letters]
	t.letters++
}

// Letters returns how many letters t has: Tiny, Standard or Long, and 0 for
// the zero Text.
func (t Text) Letters() int { return int(t.letters) }

// AppendTo appends the canonical form to b: lower-case letters without
// separators. The caller wipes b when it is done.
func (t *Text) AppendTo(b []byte) []byte {
	n := len(b)
	b = append(b, t.masked[:t.letters]...)
	subtle.XORBytes(b[n:], b[n:], mask[:])
	return b
}

// Canonical returns the lower-case letters without separators. A string cannot
// be wiped: it is for the answer that shows a new app password.
func (t Text) Canonical() string {
	var b [Long]byte
	defer clear(b[:])
	return string(t.AppendTo(b[:0]))
}

// Grouped returns the letters as they are shown: kfmw-tbrq-hjax-pdne-sgcy.
func (t Text) Grouped() string {
	var s strings.Builder
	s.Grow(Long + Long/group)
	for i := range int(t.letters) {
		if i > 0 && i%group == 0 {
			s.WriteByte('-')
		}
		s.WriteByte(t.masked[i] ^ mask[i])
	}
	return s.String()
}

// Wipe makes t the zero Text.
func (t *Text) Wipe() {
	clear(t.masked[:])
	t.letters = 0
}
