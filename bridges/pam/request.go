package pam

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// version is the only one there is.
const version = 1

// The types of requests.
const (
	Authenticate = 1 // is this the password of the user?
	Account      = 2 // may the user be let in, whatever he proved himself with?
)

const (
	maxRequest = 4096 // octets after the length
	nonceSize  = 16
	headSize   = 2 + nonceSize // version, type, nonce
	replySize  = headSize + 1
	replyBit   = 0x80 // in the type of a reply
)

// A Request is what the module asks.
type Request struct {
	Type     uint8
	Nonce    [nonceSize]byte
	Service  string
	User     string
	RHost    string
	TTY      string
	Password []byte
}

// limits are the least and the most octets of a field, in their order.
func limits(kind uint8) [5][2]int {
	password := [2]int{1, 512}
	if kind == Account {
		password = [2]int{}
	}
	return [5][2]int{{1, 64}, {1, 256}, {0, 256}, {0, 64}, password}
}

// errMalformed is every fault of a request.
var errMalformed = errors.New("malformed request")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// readRequest reads one request into buf, which has room for maxRequest octets.
// The password of the request lies in buf: the caller wipes that.
func readRequest(r io.Reader, buf []byte) (Request, error) {
	head := buf[:4]
	if _, err := io.ReadFull(r, head); err != nil {
		return Request{}, err
	}
	n := binary.BigEndian.Uint32(head)
	if n < headSize || n > maxRequest {
		return Request{}, malformed("%d octets", n)
	}
	frame := buf[:n]
	if _, err := io.ReadFull(r, frame); err != nil {
		return Request{}, err
	}
	return parseRequest(frame)
}

// parseRequest parses what follows the length. The password is not copied.
func parseRequest(frame []byte) (Request, error) {
	if len(frame) < headSize || frame[0] != version {
		return Request{}, malformed("no version %d", version)
	}
	r := Request{Type: frame[1], Nonce: [nonceSize]byte(frame[2:headSize])}
	if r.Type != Authenticate && r.Type != Account {
		return Request{}, malformed("type %d", r.Type)
	}
	var fields [5][]byte
	rest := frame[headSize:]
	for i, limit := range limits(r.Type) {
		if len(rest) < 2 {
			return Request{}, malformed("field %d is missing", i+1)
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n < limit[0] || n > limit[1] || n > len(rest)-2 {
			return Request{}, malformed("field %d has %d octets", i+1, n)
		}
		fields[i], rest = rest[2:2+n], rest[2+n:]
		if bytes.IndexByte(fields[i], 0) >= 0 {
			return Request{}, malformed("field %d holds a NUL", i+1)
		}
	}
	if len(rest) > 0 {
		return Request{}, malformed("%d octets after the last field", len(rest))
	}
	r.Service, r.User, r.RHost, r.TTY, r.Password = string(fields[0]), string(fields[1]), string(fields[2]), string(fields[3]), fields[4]
	return r, nil
}

// appendTo appends the request with its length to b. Fields that are too long
// are the reader's to refuse.
func (r *Request) appendTo(b []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, version, r.Type)
	b = append(b, r.Nonce[:]...)
	for _, field := range []string{r.Service, r.User, r.RHost, r.TTY} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(field)))
		b = append(b, field...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Password)))
	b = append(b, r.Password...)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}
