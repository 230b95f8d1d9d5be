package keyring

import (
	"bytes"
	"crypto/sha256"
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
// and before them a line for each root key that was retired, with the key that
// verifies what was audited with it, and the first 8 octets of its SHA-256:
//
//	retired <key id, hexadecimal> <audit key, base64> <checksum, hexadecimal>
//
// Empty lines and lines that begin with # say nothing. The key id is derived
// from the root key and so is its checksum.
const (
	format  = "keywicket-keyring"
	heading = format + " 1"
	maxText = 64 << 10 // octets
	maxKeys = 64

	retiredWord = "retired"
	maxRetired  = 256
)

// Parse reads the text of a keyring. Errors name the line and hold nothing of
// it. The caller wipes text.
func Parse(text []byte) (*Keyring, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("a keyring of %d octets; at most %d are read", len(text), maxText)
	}
	k, number, headed := new(ring), 0, false
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
		if err := k.parseLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	switch {
	case !headed:
		return nil, errors.New("line 1: empty; a keyring begins with " + heading)
	case len(k.keys) == 0:
		return nil, fmt.Errorf("line %d: the text ends without a key", number)
	}
	return newKeyring(k), nil
}

// parseLine adds what one line says to k.
func (k *ring) parseLine(line []byte) error {
	if old, ok := bytes.CutPrefix(line, []byte(retiredWord+" ")); ok {
		r, err := parseRetired(old)
		switch {
		case err != nil:
			return err
		case k.knows(r.id):
			return fmt.Errorf("the key %s stands here a second time", r.id)
		case len(k.retired) == maxRetired:
			return fmt.Errorf("more than %d retired keys", maxRetired)
		}
		k.retired = append(k.retired, r)
		return nil
	}
	r, err := parseKey(line)
	switch {
	case err != nil:
		return err
	case k.knows(r.id):
		return fmt.Errorf("the key %s stands here a second time", r.id)
	case len(k.keys) == maxKeys:
		return fmt.Errorf("more than %d keys", maxKeys)
	}
	k.keys = append(k.keys, r)
	return nil
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
	if err := decodeKey(&root, fields[1]); err != nil {
		return nil, err
	}
	r, err := newRootKey(&root, created)
	if err != nil {
		return nil, err
	}
	if r.id.String() != string(fields[2]) {
		return nil, errors.New("key and key id do not belong together: the line is damaged or cut off")
	}
	return r, nil
}

// decodeKey reads 32 octets of base64 into key.
func decodeKey(key *[rootSize]byte, text []byte) error {
	encoding := base64.StdEncoding.Strict()
	if len(text) != encoding.EncodedLen(rootSize) {
		return fmt.Errorf("a key of %d base64 digits; it has %d", len(text), encoding.EncodedLen(rootSize))
	}
	var room [rootSize + 1]byte // DecodedLen rounds up
	defer clear(room[:])
	if n, err := encoding.Decode(room[:], text); err != nil || n != rootSize {
		return fmt.Errorf("the key is not the base64 of %d octets", rootSize)
	}
	copy(key[:], room[:])
	return nil
}

// parseRetired reads what follows the word on the line of a retired key.
func parseRetired(line []byte) (*retiredKey, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return nil, fmt.Errorf("%d fields; a retired key has its id, its audit key and a checksum", len(fields))
	}
	r := &retiredKey{audit: new([sha256.Size]byte)}
	if n, err := hex.Decode(r.id[:], fields[0][:min(len(fields[0]), 2*len(r.id))]); err != nil || n != len(r.id) || len(fields[0]) != 2*len(r.id) {
		return nil, errors.New("the id of the retired key is not 16 hexadecimal digits")
	}
	if err := decodeKey(r.audit, fields[1]); err != nil {
		return nil, err
	}
	if r.checksum() != string(fields[2]) {
		return nil, errors.New("audit key and checksum do not belong together: the line is damaged or cut off")
	}
	return r, nil
}

// checksum finds a damaged line. It says nothing that helps to find the key.
func (r *retiredKey) checksum() string {
	sum := sha256.Sum256(append(r.id[:len(r.id):len(r.id)], r.audit[:]...))
	return hex.EncodeToString(sum[:8])
}

// Marshal returns the text of k, which Parse reads. It is as secret as the
// keys themselves; the caller wipes it.
func (k *Keyring) Marshal() []byte {
	now := k.current.Load()
	b := slices.Grow([]byte(heading+"\n"), (len(now.keys)+len(now.retired))*128) // never moved: no copy is left behind
	for _, r := range now.retired {
		b = append(b, retiredWord+" "...)
		b = hex.AppendEncode(b, r.id[:])
		b = append(b, ' ')
		b = base64.StdEncoding.AppendEncode(b, r.audit[:])
		b = append(b, ' ')
		b = append(b, r.checksum()...)
		b = append(b, '\n')
	}
	for _, r := range now.keys {
		b = r.created.AppendFormat(b, time.RFC3339)
		b = append(b, ' ')
		b = base64.StdEncoding.AppendEncode(b, r.root[:])
		b = append(b, ' ')
		b = hex.AppendEncode(b, r.id[:])
		b = append(b, '\n')
	}
	return b
}
