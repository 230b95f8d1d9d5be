package probe

import (
	"testing"

	"github.com/keywicket/keywicket/core/proof"
)

// FuzzAnswer: no datagram makes the reader panic, and none that was not made
// with the shared secret is an answer.
func FuzzAnswer(f *testing.F) {
	x, err := request(Request{Secret: []byte("correct horse battery staple"), Method: proof.MethodMSCHAPv2, Account: "alain", Password: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(append([]byte{2, x.wire[1], 0, 20}, make([]byte, 16)...))
	f.Add(append([]byte{2, x.wire[1], 0, 22}, append(make([]byte, 16), 80, 2)...))
	f.Add(append([]byte{2, x.wire[1], 0, 38}, append(make([]byte, 16), append([]byte{80, 18}, make([]byte, 16)...)...)...))
	f.Add(append([]byte{2, x.wire[1], 0, 22}, append(make([]byte, 16), 80, 1)...))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if len(datagram) > 1 {
			datagram[1] = x.wire[1]
		}
		if a, ok := x.answer(datagram, Answer{}); ok {
			t.Errorf("%x is an answer: %+v", datagram, a)
		}
		p := *x.packet
		p.Authenticator = [16]byte{}
		x.mutual(&p)
		x.keys(&p)
	})
}
