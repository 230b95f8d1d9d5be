package pam

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// errReply is every fault of a reply.
var errReply = errors.New("what answers at the PAM socket is no Keywicket")

// Ask asks at the socket as the module does, with a nonce of its own. The error
// says why there is no verdict.
func Ask(ctx context.Context, path string, r Request) (Verdict, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	if _, err := rand.Read(r.Nonce[:]); err != nil {
		return 0, err
	}
	frame := r.appendTo(nil)
	defer clear(frame)
	if _, err := conn.Write(frame); err != nil {
		return 0, err
	}
	reply := make([]byte, 4+replySize)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return 0, err
	}
	return parseReply(reply, &r)
}

// parseReply returns the verdict of a reply to r.
func parseReply(b []byte, r *Request) (Verdict, error) {
	if len(b) != 4+replySize || binary.BigEndian.Uint32(b) != replySize || b[4] != version || b[5] != r.Type|replyBit {
		return 0, errReply
	}
	if [nonceSize]byte(b[6:6+nonceSize]) != r.Nonce { // not a secret: who answers was told it
		return 0, errReply
	}
	v := Verdict(b[4+replySize-1])
	if v == 0 || v >= verdictEnd || v > Unavailable && r.Type != Account {
		return 0, errReply
	}
	return v, nil
}
