package proof

import (
	"encoding/binary"
	"unicode/utf16"

	//lint:ignore SA1019 the NT hash is MD4 (RFC 2759, section 8.3)
	"golang.org/x/crypto/md4" //nolint:staticcheck // the same for golangci-lint
)

// Material returns what must be kept, sealed, of an app password so that m can
// be checked: for CHAP the text (RFC 1994, section 4.1), for MS-CHAPv2 the 16
// octets of its NT hash (RFC 2759, section 8.3), for a clear text nothing.
func Material(m Method, text string) []byte {
	switch m {
	case MethodCHAP:
		return []byte(text)
	case MethodMSCHAPv2:
		h := md4.New()
		var unit [2]byte
		for _, u := range utf16.Encode([]rune(text)) {
			binary.LittleEndian.PutUint16(unit[:], u)
			h.Write(unit[:])
		}
		return h.Sum(nil)
	}
	return nil
}
