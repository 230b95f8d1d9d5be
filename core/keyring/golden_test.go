package keyring

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// golden are the values of the two keys of testdata/golden.keyring. All but
// the sealed ones were computed by another program (Python's hmac, after
// RFC 5869), the sealed ones recorded once. None may ever change: stores in
// the field depend on them.
var golden = [2]struct{ id, tag, audit, jitter, seal, sealed string }{
	{
		id:     "17b1c475d0aad20c",
		tag:    "47141a1c8c6b6d8c210955395a8961fb",
		audit:  "661888689abf7be74cdb53dd027926230c71d2dfb9315b950d193db8f1223ed8",
		jitter: "a691500b70fc3fd4",
		seal:   "2b6e1d0b6dcdd8c98aa49133ae88eace067208c8517a11542d36d244a3602dd8",
		sealed: "0117b1c475d0aad20cc5ed0cce861a5b3804766c9eb7abb664f6f460a96e597b1b2af970c8fb1558af3f8c6af79e407ab7e1aa77527eae1ecb97e393b193353ff697fc274cc88d8857d2b61c",
	},
	{
		id:     "5531041059c41db9",
		tag:    "06f2178dc37cc28fd92885caeb0b6f71",
		audit:  "2383cb6e1d0590178b38164ae78cd1e985c9b96d714e529da01e12253c2c6dcc",
		jitter: "fb9f22bc0966044c",
		seal:   "cdb12457a5aead0d77fbcc9d43fe0d3c82b5e08a43c0e9ab0f32da744ad4be41",
		sealed: "015531041059c41db9e9988be3057439d95019440d37d434923b6de59383931092ba7cafea6410df1a1a40642ffe0e1af8593c295520b5fb1edb80467a86510f926babee001f2448b957c273",
	},
}

const (
	goldenKind  = "account"
	goldenKey   = "account/alain@contoso.com"
	goldenPlain = "sealed by the first version"
)

func goldenText(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.keyring") // in a checkout it has no mode that ReadFile takes
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func goldenRing(t testing.TB) *Keyring {
	t.Helper()
	k, err := Parse(goldenText(t))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldenDerivation(t *testing.T) {
	k := goldenRing(t)
	if k.Newest().String() != golden[1].id || len(k.IDs()) != 2 {
		t.Fatalf("newest is %s of %v", k.Newest(), k.IDs())
	}
	for i, want := range golden {
		id := k.IDs()[i]
		if id.String() != want.id {
			t.Errorf("key %d: id %s, want %s", i, id, want.id)
		}
		if tag, ok := k.Tag(id, []byte("inner hash")); !ok || hex.EncodeToString(tag[:]) != want.tag {
			t.Errorf("key %d: tag %x, %v, want %s", i, tag, ok, want.tag)
		}
		alone := newKeyring(&ring{keys: k.current.Load().keys[i : i+1]})
		if got := hex.EncodeToString(alone.AuditKey()); got != want.audit {
			t.Errorf("key %d: audit key %s, want %s", i, got, want.audit)
		}
		if got := alone.Jitter("alain@contoso.com"); got != binary.BigEndian.Uint64(unhex(t, want.jitter)) {
			t.Errorf("key %d: jitter %x, want %s", i, got, want.jitter)
		}
	}
}

func TestGoldenOpen(t *testing.T) {
	k := goldenRing(t)
	for i, want := range golden {
		if got, err := k.Open(goldenKind, goldenKey, unhex(t, want.sealed)); err != nil || string(got) != goldenPlain {
			t.Errorf("key %d: %q, %v", i, got, err)
		}
	}
}

// TestSealIsAsDescribed takes a fresh envelope apart by what the comments say
// and by nothing of ours.
func TestSealIsAsDescribed(t *testing.T) {
	sealed := goldenRing(t).Seal("ab", "cde", []byte(goldenPlain))
	if len(sealed) != Overhead+len(goldenPlain) || Overhead != 1+8+24+16 {
		t.Fatalf("%d octets, overhead %d", len(sealed), Overhead)
	}
	if got, want := hex.EncodeToString(sealed[:9]), "01"+golden[1].id; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	aead, err := chacha20poly1305.NewX(unhex(t, golden[1].seal))
	if err != nil {
		t.Fatal(err)
	}
	data := append(unhex(t, "01"+golden[1].id), "\x00\x00\x00\x02ab\x00\x00\x00\x03cde"...)
	if got, err := aead.Open(nil, sealed[9:33], sealed[33:], data); err != nil || string(got) != goldenPlain {
		t.Errorf("%q, %v", got, err)
	}
}
