package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/keywicket/keywicket/core/store"
)

// verifyLogs follows the links of the transactions through the logs, from the
// oldest on; last is the newest revision in the tables. It returns the newest
// of all, or ErrDamaged where a link is missing.
//
// Badger ends a log at the first record that does not fit, as after a write
// that was interrupted. For the newest log that is right if nothing after it
// was acknowledged, which the caller knows; an older one is followed by a log
// that says what came before.
func verifyLogs(dir string, last store.Revision) (store.Revision, error) {
	ids, err := logIDs(dir)
	if err != nil {
		return 0, err
	}
	inLogs := store.Revision(0)
	for _, id := range ids {
		path := logPath(dir, id)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		_, err = readLog(data, func(before, own store.Revision) error {
			// The oldest logs may hold what the tables have already.
			if inLogs != 0 && before != inLogs || before > max(last, inLogs) {
				return fmt.Errorf("revision %d is missing", max(last, inLogs)+1)
			}
			inLogs = own
			return nil
		})
		if err != nil {
			return 0, damagedFile(path, "in it or the log before it, "+err.Error())
		}
	}
	return max(last, inLogs), nil
}

const (
	logHead   = 8 + 12 // key number and nonce, both for encryption
	txnRecord = 1 << 6 // Badger's bitTxn
	finRecord = 1 << 7 // Badger's bitFinTxn
)

// readLog calls each for the link of every whole transaction in a log of
// Badger's, in order, as its replay would. end is where the last of them ends,
// or 0 where there is none.
func readLog(data []byte, each func(before, own store.Revision) error) (end int, err error) {
	if len(data) < logHead {
		return 0, nil
	}
	if binary.BigEndian.Uint64(data) != 0 {
		return 0, errors.New("the head is damaged")
	}
	size := len(data)
	data = data[logHead:]
	var value []byte // of the link in the transaction that is being read
	version, own := uint64(0), uint64(0)
	for {
		r, ok := nextRecord(&data)
		if !ok {
			return end, nil
		}
		switch {
		case r.meta&txnRecord != 0:
			if own = r.version(); version == 0 {
				version = own
			}
			if own != version {
				return end, nil
			}
			if bytes.HasPrefix(r.key, []byte(lastKey)) && len(r.key) == len(lastKey)+8 {
				value = r.value
			}
		case r.meta&finRecord != 0:
			if n, err := strconv.ParseUint(string(r.value), 10, 64); err != nil || n != version {
				return end, nil
			}
			before, last, err := parseLink(value)
			if err != nil {
				return end, err
			}
			if err := each(before, last); err != nil {
				return end, err
			}
			version, value, end = 0, nil, size-len(data)
		default:
			return end, errors.New("a record is in no transaction")
		}
	}
}

// A record is one entry of a log.
type record struct {
	meta       byte
	key, value []byte // key ends in the version
}

// version is the number that Badger keeps behind a key, as its complement.
func (r record) version() uint64 {
	if len(r.key) < 8 {
		return 0
	}
	return ^binary.BigEndian.Uint64(r.key[len(r.key)-8:])
}

// nextRecord takes a record off data: meta, user meta, the lengths of key and
// value and the expiry as varints, key, value, CRC-32C. ok is false at the end
// and where a record does not fit.
func nextRecord(data *[]byte) (r record, ok bool) {
	b := *data
	if len(b) < 2 {
		return r, false
	}
	at := 2
	var numbers [3]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b[at:])
		if size <= 0 {
			return r, false
		}
		numbers[i], at = n, at+size
	}
	keyLen, valueLen := numbers[0], numbers[1]
	if room := uint64(len(b) - at); keyLen == 0 || keyLen > 1<<16 || valueLen > 1<<30 || keyLen+valueLen+4 > room {
		return r, false
	}
	end := at + int(keyLen+valueLen)
	if castagnoli(b[:end]) != binary.BigEndian.Uint32(b[end:]) {
		return r, false
	}
	*data = b[end+4:]
	return record{meta: b[0], key: b[at : at+int(keyLen)], value: b[at+int(keyLen) : end]}, true
}

// trimLogs cuts off each log what follows its last whole transaction, as
// Badger does when it opens them to write, and removes those without any: Badger
// does not open over an empty one. It needs no room, but frees what was
// allocated ahead.
func trimLogs(dir string) error {
	ids, err := logIDs(dir)
	if err != nil {
		return err
	}
	for _, id := range ids {
		end, err := logEnd(dir, id)
		if err == nil && end == 0 {
			err = os.Remove(logPath(dir, id))
		} else if err == nil {
			err = os.Truncate(logPath(dir, id), int64(end))
		}
		if err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return nil
}

// logsEnd is how many octets the logs in dir hold together.
func logsEnd(dir string) (octets int64, err error) {
	ids, err := logIDs(dir)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		end, err := logEnd(dir, id)
		if err != nil {
			return 0, err
		}
		octets += int64(end)
	}
	return octets, nil
}

func logEnd(dir string, id int) (int, error) {
	data, err := os.ReadFile(logPath(dir, id))
	if err != nil {
		return 0, err
	}
	return readLog(data, func(_, _ store.Revision) error { return nil })
}
