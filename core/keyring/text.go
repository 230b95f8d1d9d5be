package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The text of a keyring has the format as its first line, then a line for
// each root key, the newest last:
//
//	keywicket-keyring 1
//	<creation time, RFC 3339> <root key, base64> <key id, hexadecimal>
//
// Empty lines and lines that begin with # say nothing. The key id is derived
// from the root key and so is its checksum.
const (
	format  = "keywicket-keyring"
	heading = format + " 1"
	maxText = 64 << 10 // octets
	maxKeys = 64
)

// Parse reads the text of a keyring. Errors name the line and hold nothing of
// it. The caller wipes text.
func Parse(text []byte) (*Keyring, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("a keyring of %d octets; at most %d are read", len(text), maxText)
	}
	k, number, headed := new(Keyring), 0, false
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if !headed {
			if err := checkHeading(line); err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			headed = true
			continue
		}
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		r, err := parseKey(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", number, err)
		case k.find(r.id) != nil:
			return nil, fmt.Errorf("line %d: the key %s stands here a second time", number, r.id)
		case len(k.keys) == maxKeys:
			return nil, fmt.Errorf("line %d: more than %d keys", number, maxKeys)
		}
		k.keys = append(k.keys, r)
	}
	switch {
	case !headed:
		return nil, errors.New("line 1: empty; a keyring begins with " + heading)
	case len(k.keys) == 0:
		return nil, fmt.Errorf("line %d: the text ends without a key", number)
	}
	return k, nil
}

func checkHeading(line []byte) error {
	name, ver, _ := bytes.Cut(line, []byte(" "))
	switch {
	case string(line) == heading:
		return nil
	case string(name) == format && len(ver) > 0:
		return errors.New("a keyring of another version; this program knows 1")
	}
	return errors.New("no keyring: it begins with " + heading)
}

// parseKey reads one line. It words its errors itself: those of the standard
// library quote their input.
func parseKey(line []byte) (*rootKey, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return nil, fmt.Errorf("%d fields; a key has a time, the key and its id", len(fields))
	}
	created, err := time.Parse(time.RFC3339, string(fields[0]))
	if err != nil {
		return nil, errors.New("the first field is no time (RFC 3339)")
	}
	var root [rootSize]byte
	defer clear(root[:])
	encoding := base64.StdEncoding.Strict()
	if len(fields[1]) != encoding.EncodedLen(rootSize) {
		return nil, fmt.Errorf("a key of %d base64 digits; it has %d", len(fields[1]), encoding.EncodedLen(rootSize))
	}
	var room [rootSize + 1]byte // DecodedLen rounds up
	defer clear(room[:])
	if n, err := encoding.Decode(room[:], fields[1]); err != nil || n != rootSize {
		return nil, fmt.Errorf("the key is not the base64 of %d octets", rootSize)
	}
	copy(root[:], room[:])
	r, err := newRootKey(&root, created)
	if err != nil {
		return nil, err
	}
	if r.id.String() != string(fields[2]) {
		return nil, errors.New("key and key id do not belong together: the line is damaged or cut off")
	}
	return r, nil
}

// Marshal returns the text of k, which Parse reads. It is as secret as the
// keys themselves; the caller wipes it.
func (k *Keyring) Marshal() []byte {
	b := slices.Grow([]byte(heading+"\n"), len(k.keys)*128) // never moved: no copy is left behind
	for _, r := range k.keys {
		b = r.created.AppendFormat(b, time.RFC3339)
		b = append(b, ' ')
		b = base64.StdEncoding.AppendEncode(b, r.root[:])
		b = append(b, ' ')
		b = hex.AppendEncode(b, r.id[:])
		b = append(b, '\n')
	}
	return b
}
