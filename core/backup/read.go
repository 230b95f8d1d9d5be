package backup

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
)

// The errors about a backup. Their texts say what to do.
var (
	// ErrNoBackup: the file is something else.
	ErrNoBackup = errors.New("this is no backup of Keywicket")

	// ErrNewer: a later version made it.
	ErrNewer = errors.New("this backup was made by a newer version; restore it with that, or a later one")

	// ErrDamaged: it is not as it was written.
	ErrDamaged = errors.New("the backup was cut, changed or put together of several; use another copy of it, or another backup")

	// ErrKeyring: the keyring does not have the key.
	ErrKeyring = errors.New("the keyring is not the one that this backup needs: configure the keyring as it was then, from the copy that was kept apart; one that was rotated and retired since does not open it")

	// ErrChain: an incremental backup does not go on from the one before it.
	ErrChain = errors.New("the backups do not follow one another; give the complete one first, then each incremental one in the order in which they were made")

	// ErrRecord: a record of the backup is of no use.
	ErrRecord = errors.New("a record in the backup is damaged")
)

// A reader reads the chunks of one backup.
type reader struct {
	in     *bufio.Reader
	keys   *keyring.Keyring
	id     ID
	number uint64
}

// open reads what stands before the chunks.
func open(in io.Reader, keys *keyring.Keyring) (*reader, error) {
	r := &reader{in: bufio.NewReaderSize(in, 64<<10), keys: keys}
	var head [headSize]byte
	n, err := io.ReadFull(r.in, head[:])
	switch {
	case err != nil && !isEnd(err):
		return nil, err
	case n < len(magic) || string(head[:len(magic)]) != magic || n > len(magic) && head[len(magic)] == 0:
		return nil, ErrNoBackup
	case n > len(magic) && head[len(magic)] != format:
		return nil, fmt.Errorf("%w: format %d, this program knows %d", ErrNewer, head[len(magic)], format)
	case n < headSize:
		return nil, fmt.Errorf("%w: it ends after %d octets", ErrDamaged, n)
	}
	r.id = ID(head[headSize-idSize:])
	return r, nil
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// envelope reads the next chunk as it is sealed.
func (r *reader) envelope() ([]byte, error) {
	var length [4]byte
	_, err := io.ReadFull(r.in, length[:])
	if err != nil {
		return nil, r.cut(err)
	}
	n := int(binary.BigEndian.Uint32(length[:]))
	if n < keyring.Overhead || n > maxChunk {
		return nil, fmt.Errorf("%w: chunk %d has a length of %d octets", ErrDamaged, r.number, n)
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(r.in, sealed); err != nil {
		return nil, r.cut(err)
	}
	return sealed, nil
}

func (r *reader) cut(err error) error {
	if isEnd(err) {
		return fmt.Errorf("%w: it ends in chunk %d", ErrDamaged, r.number)
	}
	return err
}

// next opens the next chunk.
func (r *reader) next() (plain []byte, last bool, err error) {
	sealed, err := r.envelope()
	if err != nil {
		return nil, false, err
	}
	plain, last, err = openChunk(r.keys, r.id, r.number, sealed)
	r.number++
	return plain, last, err
}

// openChunk opens a chunk that may be the last one.
func openChunk(keys *keyring.Keyring, id ID, number uint64, sealed []byte) (plain []byte, last bool, err error) {
	for _, last := range []bool{false, true} {
		if plain, err = keys.Open(kindBackup, place(id, number, last), sealed); err == nil {
			return plain, last, nil
		}
	}
	switch {
	case errors.Is(err, keyring.ErrVersion):
		return nil, false, fmt.Errorf("%w, unless it is damaged: chunk %d: %w", ErrNewer, number, err)
	case errors.Is(err, keyring.ErrUnknownKey):
		return nil, false, fmt.Errorf("%w (or the backup is damaged): chunk %d: %w", ErrKeyring, number, err)
	}
	return nil, false, fmt.Errorf("%w: chunk %d does not open", ErrDamaged, number)
}

// header reads the first chunk.
func (r *reader) header() (Header, error) {
	plain, last, err := r.next()
	if err != nil {
		return Header{}, err
	}
	h, err := parseHeader(r.id, plain)
	switch {
	case err != nil || last:
		return Header{}, r.malformed(errMalformed)
	case h.recordFormat > record.Format:
		return Header{}, fmt.Errorf("%w: its records have format %d, this program knows %d", ErrNewer, h.recordFormat, record.Format)
	}
	return h, nil
}

func (r *reader) malformed(err error) error {
	return fmt.Errorf("%w: chunk %d: %w", ErrDamaged, r.number-1, err)
}

// read calls each for every record of a backup. A value is valid until each
// returns. The whole file was right if read returns no error, and no part of
// it may be trusted to be all before that.
func read(in io.Reader, keys *keyring.Keyring, begin func(Header) error, each func(item) error) (Header, end, error) {
	r, err := open(in, keys)
	if err != nil {
		return Header{}, end{}, err
	}
	h, err := r.header()
	if err == nil {
		err = begin(h)
	}
	if err != nil {
		return Header{}, end{}, err
	}
	var seen end
	for before := ""; ; {
		plain, last, err := r.next()
		if err != nil {
			return Header{}, end{}, err
		}
		if last {
			stated, err := parseEnd(plain)
			if err != nil || stated != seen {
				return Header{}, end{}, r.malformed(errMalformed)
			}
			return h, seen, r.atEnd()
		}
		if before, err = r.records(plain, before, &seen, h, each); err != nil {
			return Header{}, end{}, err
		}
	}
}

// records calls each for the records of one chunk, and returns the last key.
func (r *reader) records(plain []byte, before string, seen *end, h Header, each func(item) error) (string, error) {
	if len(plain) < 2 || plain[0] != chunkRecords {
		return "", r.malformed(errMalformed)
	}
	for rest := plain[1:]; len(rest) > 0; {
		i, more, err := nextItem(rest)
		if err != nil || i.key <= before || i.kept && h.Complete() || i.revision > h.Revision {
			return "", r.malformed(errMalformed)
		}
		seen.Records++
		if !i.kept {
			seen.Values++
			seen.Octets += uint64(len(i.value))
		}
		if err := each(i); err != nil {
			return "", err
		}
		before, rest = i.key, more
	}
	clear(plain)
	return before, nil
}

// atEnd makes sure that nothing follows.
func (r *reader) atEnd() error {
	switch _, err := r.in.ReadByte(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: something follows its last chunk", ErrDamaged)
}
