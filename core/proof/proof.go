package proof

import (
	"fmt"
	"io"
)

// A Method is a way to present an app password. The texts are stored, and
// stand in configurations and audits: add, never rename.
type Method string

const (
	MethodCleartext Method = "cleartext" // PAP, PAM, the inside of a TLS tunnel
	MethodCHAP      Method = "chap"      // RFC 1994
	MethodMSCHAPv2  Method = "mschapv2"  // RFC 2759
)

// Methods returns every method.
func Methods() []Method {
	return []Method{MethodCleartext, MethodCHAP, MethodMSCHAPv2}
}

// A Proof is what a device presented. It is one of Cleartext, a Trial or
// Unsupported; the engine refuses everything else.
type Proof interface {
	Method() Method
}

// A Cleartext is the text that was typed. Whoever made it wipes it after use.
type Cleartext []byte

func (Cleartext) Method() Method { return MethodCleartext }

// Format keeps the text out of whatever fmt prints, under every verb.
func (Cleartext) Format(f fmt.State, _ rune) { io.WriteString(f, "[password]") }

// MarshalJSON keeps the text out of logs.
func (Cleartext) MarshalJSON() ([]byte, error) { return []byte(`"[password]"`), nil }

// A Trial is a response to a challenge. It says whether the material of one
// app password gives this response; every call takes the same time.
type Trial interface {
	Proof
	Try(material []byte) bool
}

// An Unsupported is a well-formed proof of a method that the bridge cannot
// decode. It is refused as method-not-enabled.
type Unsupported Method

func (u Unsupported) Method() Method { return Method(u) }
