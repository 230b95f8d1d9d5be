package load

import "testing"

// FuzzGenuine: no datagram makes the reader panic, and none that was not made
// with the shared secret is genuine.
func FuzzGenuine(f *testing.F) {
	s := newSigner([]byte("correct horse battery staple"))
	var request [16]byte
	f.Add([]byte{})
	f.Add(append([]byte{2, 1, 0, 20}, make([]byte, 16)...))
	f.Add(append([]byte{2, 1, 0, 38}, append(make([]byte, 16), append([]byte{80, 18}, make([]byte, 16)...)...)...))
	f.Add(append([]byte{2, 1, 0, 21}, make([]byte, 17)...))
	f.Add(append([]byte{2, 1, 0, 22}, append(make([]byte, 16), 80, 1)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if genuine, _ := s.genuine(raw, request[:]); genuine {
			t.Errorf("%x is genuine", raw)
		}
	})
}
