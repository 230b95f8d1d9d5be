package backup

import (
	"errors"
	"fmt"
	"io"

	"github.com/keywicket/keywicket/core/keyring"
)

// A Mark is what an incremental backup needs of the one that it goes on from:
// its first and its last chunk. Who takes them out of the file needs no
// keyring.
type Mark struct {
	ID     ID
	First  []byte // sealed
	Last   []byte // sealed
	Chunks uint64
}

// Ends takes the Mark out of a backup. It reads the file to its end, and opens
// nothing.
func Ends(in io.Reader) (*Mark, error) {
	r, err := open(in, nil)
	if err != nil {
		return nil, err
	}
	m := &Mark{ID: r.id}
	for {
		if _, err := r.in.Peek(1); errors.Is(err, io.EOF) && r.number > 1 {
			m.Chunks = r.number
			return m, nil
		}
		sealed, err := r.envelope()
		if err != nil {
			return nil, err
		}
		if r.number++; r.number == 1 {
			m.First = sealed
		}
		m.Last = sealed
	}
}

// open opens both chunks.
func (m *Mark) open(keys *keyring.Keyring) (Header, error) {
	if m.Chunks < 2 {
		return Header{}, fmt.Errorf("the older backup: %w", ErrDamaged)
	}
	r := &reader{number: 1} // for its words
	plain, last, err := openChunk(keys, m.ID, 0, m.First)
	if err != nil {
		return Header{}, fmt.Errorf("the older backup: %w", err)
	}
	h, err := parseHeader(m.ID, plain)
	if err != nil || last {
		return Header{}, fmt.Errorf("the older backup: %w", r.malformed(errMalformed))
	}
	plain, last, err = openChunk(keys, m.ID, m.Chunks-1, m.Last)
	if err == nil && !last {
		err = fmt.Errorf("%w: its end is missing", ErrDamaged)
	}
	if err == nil {
		_, err = parseEnd(plain)
	}
	if err != nil {
		return Header{}, fmt.Errorf("the older backup: %w", err)
	}
	return h, nil
}
