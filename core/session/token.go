package session

import (
	"encoding/binary"
	"encoding/hex"
	"time"
)

// A token ties a session to its app password. It is sealed for one client, so
// that no other can bring it back as its own.
type token struct {
	Owner
	issued int64 // Unix milliseconds
}

const (
	tokenKind  = "session-token"
	tokenFixed = 16 + 8 + 8

	// maxTokenName is the longest name that a token has room for: a Class has
	// 253 octets (RFC 2865, section 5.25), of which the seal takes 49.
	maxTokenName = 253 - 49 - tokenFixed
)

// AppendToken appends the token of a session that a grant of now may become at
// client. It neither waits nor, where dst has room, allocates.
func (t *Table) AppendToken(dst []byte, client string, of Owner, now time.Time) []byte {
	var space [tokenFixed + maxTokenName]byte
	content := space[:0]
	content = append(content, of.AccountID[:]...)
	content = append(content, of.AppPassword[:]...)
	content = binary.BigEndian.AppendUint64(content, uint64(now.UnixMilli()))
	if len(of.Account) <= maxTokenName {
		content = append(content, of.Account...)
	}
	return t.opt.Keyring.AppendSeal(dst, now, tokenKind, client, content)
}

// open returns what the first genuine one among the tokens of r says. One that
// somebody made up, or that another client was given, is none.
func (t *Table) open(r Report) (token, bool) {
	for _, sealed := range r.Tokens {
		content, err := t.opt.Keyring.Open(tokenKind, r.Client, sealed)
		if err != nil || len(content) < tokenFixed {
			continue
		}
		found := token{issued: int64(binary.BigEndian.Uint64(content[24:]))}
		copy(found.AccountID[:], content)
		copy(found.AppPassword[:], content[16:])
		if found.Account = string(content[tokenFixed:]); found.Account == "" {
			found.Account = r.Account
		}
		if found.Account != "" {
			return found, true
		}
	}
	return token{}, false
}

// idText is how the id of an app password is written.
func (o Owner) idText() string { return hex.EncodeToString(o.AppPassword[:]) }
