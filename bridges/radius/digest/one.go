package digest

import "math/bits"

// begin returns the state before anything (RFC 1321, section 3.3).
func begin() state { return state{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476} }

// after returns the state after s and a block more. b is not in use.
func (b *Batch) after(s state, octets *[block]byte) state {
	b.load(0, octets)
	for i := range s {
		b.states[i][0] = s[i]
	}
	b.one(0)
	for i := range s {
		s[i] = b.states[i][0]
	}
	return s
}

// one takes the loaded block of one lane into its state (RFC 1321, section 3.4).
func (b *Batch) one(lane int) {
	s0, s1, s2, s3 := b.states[0][lane], b.states[1][lane], b.states[2][lane], b.states[3][lane]
	x, y, z, w := s0, s1, s2, s3
	var m [block / 4]uint32
	for i := range m {
		m[i] = b.words[i][lane]
	}
	k := &b.constants
	for i := 0; i < 16; i += 4 {
		x = y + bits.RotateLeft32(x+((z^w)&y^w)+m[i]+k[i], 7)
		w = x + bits.RotateLeft32(w+((y^z)&x^z)+m[i+1]+k[i+1], 12)
		z = w + bits.RotateLeft32(z+((x^y)&w^y)+m[i+2]+k[i+2], 17)
		y = z + bits.RotateLeft32(y+((w^x)&z^x)+m[i+3]+k[i+3], 22)
	}
	for i := 16; i < 32; i += 4 {
		x = y + bits.RotateLeft32(x+((y^z)&w^z)+m[(5*i+1)%16]+k[i], 5)
		w = x + bits.RotateLeft32(w+((x^y)&z^y)+m[(5*i+6)%16]+k[i+1], 9)
		z = w + bits.RotateLeft32(z+((w^x)&y^x)+m[(5*i+11)%16]+k[i+2], 14)
		y = z + bits.RotateLeft32(y+((z^w)&x^w)+m[(5*i+16)%16]+k[i+3], 20)
	}
	for i := 32; i < 48; i += 4 {
		x = y + bits.RotateLeft32(x+(y^z^w)+m[(3*i+5)%16]+k[i], 4)
		w = x + bits.RotateLeft32(w+(x^y^z)+m[(3*i+8)%16]+k[i+1], 11)
		z = w + bits.RotateLeft32(z+(w^x^y)+m[(3*i+11)%16]+k[i+2], 16)
		y = z + bits.RotateLeft32(y+(z^w^x)+m[(3*i+14)%16]+k[i+3], 23)
	}
	for i := 48; i < 64; i += 4 {
		x = y + bits.RotateLeft32(x+((^w|y)^z)+m[(7*i)%16]+k[i], 6)
		w = x + bits.RotateLeft32(w+((^z|x)^y)+m[(7*i+7)%16]+k[i+1], 10)
		z = w + bits.RotateLeft32(z+((^y|w)^x)+m[(7*i+14)%16]+k[i+2], 15)
		y = z + bits.RotateLeft32(y+((^x|z)^w)+m[(7*i+21)%16]+k[i+3], 21)
	}
	b.states[0][lane], b.states[1][lane], b.states[2][lane], b.states[3][lane] = s0+x, s1+y, s2+z, s3+w
}
