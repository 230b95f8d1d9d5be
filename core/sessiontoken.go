package core

import (
	"encoding/binary"
	"encoding/hex"
)

// A token is what Grant.Session holds: whose a session is. It is sealed for
// one client, so that no other can bring it back as its own.
type token struct {
	account  [16]byte
	password [8]byte
	issued   int64  // Unix milliseconds
	name     string // normalised
}

const (
	tokenKind  = "session-token"
	tokenFixed = 16 + 8 + 8

	// maxTokenName is the longest name that a token has room for: a Class has
	// 253 octets (RFC 2865, section 5.25), of which the seal takes 49.
	maxTokenName = 253 - 49 - tokenFixed
)

// ref names the app password of t by its id alone.
func (t token) ref() Ref { return Ref{ID: hex.EncodeToString(t.password[:])} }

// appendSession appends the token of a session that the grant of a may become.
func (e *Engine) appendSession(dst []byte, a *Attempt, v *verdict) []byte {
	var space [tokenFixed + maxTokenName]byte
	content := space[:0]
	content = append(content, v.account.id[:]...)
	content = append(content, v.match.id[:]...)
	content = binary.BigEndian.AppendUint64(content, uint64(v.now.UnixMilli()))
	if len(v.name) <= maxTokenName {
		content = append(content, v.name...)
	}
	return e.keys.AppendSeal(dst, tokenKind, a.Client, content)
}

// openTokens returns what the first genuine one among the tokens of r says. One
// that somebody made up, or that another client was given, is none.
func (e *Engine) openTokens(r SessionReport) (token, bool) {
	for _, sealed := range r.Tokens {
		content, err := e.keys.Open(tokenKind, r.Client, sealed)
		if err != nil || len(content) < tokenFixed {
			continue
		}
		t := token{issued: int64(binary.BigEndian.Uint64(content[24:])), name: string(content[tokenFixed:])}
		copy(t.account[:], content)
		copy(t.password[:], content[16:])
		if t.name == "" {
			if t.name, err = NormalizeAccount(r.Account); err != nil {
				continue
			}
		}
		return t, true
	}
	return token{}, false
}
