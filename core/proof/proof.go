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

// Methods that are recognised and not taken. No app password can have them; they
// stand in records of attempts that were refused.
const (
	MethodMSCHAPv1     Method = "mschapv1"      // RFC 2433: one recorded answer gives the NT hash, and there are no keys
	MethodMSCHAPChange Method = "mschap-change" // a change of the password over MS-CHAP: app passwords are generated
	MethodEAP          Method = "eap"           // RFC 3579: whatever is inside of it; there is no engine for it yet
)

// Methods returns every method that an app password can have.
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

// A Deriver is a Trial whose grant has to be answered with something that is
// made of the material. Whoever made it reads that off it afterwards, and so
// never sees the material itself.
type Deriver interface {
	Trial

	// Derive is called once, when the attempt is granted, with the material
	// that Try said yes to. Of a refused attempt nothing is derived.
	Derive(material []byte)
}

// An Unsupported is a proof of a method that the bridge does not take, or not
// from this device. It is refused as method-not-enabled.
type Unsupported Method

func (u Unsupported) Method() Method { return Method(u) }
