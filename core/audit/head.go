package audit

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	headName = "head"

	// headSize is the length of a head file in octets. It is always the same,
	// so that it is overwritten in place: one sector, and no room on the disk
	// is needed.
	headSize = 384
)

// A head says how far the log was written.
type head struct {
	Version int    `json:"version"`
	File    uint64 `json:"file"`   // number; 0 before the first
	Seq     uint64 `json:"seq"`    // of the last line that was written
	Last    string `json:"last"`   // its mac
	Synced  uint64 `json:"synced"` // seq of the last line that was forced to the disk
	Key     string `json:"key"`    // short id
}

// marshal returns the content of the head file.
func (h head) marshal(key *signer) []byte {
	h.Key = key.id
	body, err := json.Marshal(h)
	if err != nil { // numbers and plain texts can be marshalled
		panic("audit: " + err.Error())
	}
	body = body[:len(body)-1] // the brace, which macEnd brings back
	sum := key.of([]byte(headLabel), body)
	body = append(body, macField...)
	body = hex.AppendEncode(body, sum[:])
	body = append(body, macEnd...)
	for len(body) < headSize-1 {
		body = append(body, ' ')
	}
	return append(body, '\n')
}

// errNoHead says that there is no head file, which a log always has.
var errNoHead = errors.New("the file is missing")

// parseHead reads what marshal writes, to the octet.
func parseHead(text []byte, keys []*signer) (head, error) {
	var h head
	if len(text) != headSize {
		return head{}, fmt.Errorf("the file has not %d octets", headSize)
	}
	line := bytes.TrimRight(text, " \n")
	if _, _, ok := splitLine(line); !ok {
		return head{}, errors.New("the file is not a head")
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return head{}, errors.New("the file is not a head")
	}
	for _, key := range keys {
		if key.id != h.Key {
			continue
		}
		if !hmac.Equal(h.marshal(key), text) {
			return head{}, errors.New("it was changed: its mac does not fit")
		}
		return h, nil
	}
	return head{}, errors.New("it was written under a key that was not given")
}

// readHead reads the head of the log in dir. One that does not fit is read
// again, up to grace times: it may just be written.
func readHead(dir string, keys []*signer, grace int) (head, error) {
	for try := 0; ; try++ {
		text, err := readHeadFile(dir)
		if err != nil {
			return head{}, err
		}
		h, err := parseHead(text, keys)
		if err == nil || try >= grace {
			return h, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func readHeadFile(dir string) ([]byte, error) {
	f, err := openRegular(filepath.Join(dir, headName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoHead
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, headSize+1))
}

// writeHead writes the head in place. force makes it last through a loss of power.
func writeHead(open opener, dir string, text []byte, force bool) error {
	f, err := open(filepath.Join(dir, headName), os.O_WRONLY|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && force {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
