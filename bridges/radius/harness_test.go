package radius

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

const (
	testSecret   = "correct horse battery staple"
	testName     = "alain@contoso.com"
	testPassword = "kfmwtbrqhjaxpdnesgcy"
)

// asked is an attempt with a copy of its clear text, which is wiped after.
type asked struct {
	core.Attempt
	text string
}

// A fakeEngine grants testPassword, unless it is told otherwise.
type fakeEngine struct {
	verify func(ctx context.Context, a core.Attempt) (core.Grant, error)
	ready  func(ctx context.Context) error
	jitter func(account string) uint64

	mu    sync.Mutex
	asked []asked
}

func denied(reason core.Reason) error {
	return &core.Error{Op: "verify", Kind: reason.Kind(), Reason: reason}
}

func (e *fakeEngine) Verify(ctx context.Context, a core.Attempt) (core.Grant, error) {
	text, _ := a.Proof.(proof.Cleartext)
	e.mu.Lock()
	e.asked = append(e.asked, asked{a, string(text)})
	e.mu.Unlock()
	switch {
	case e.verify != nil:
		return e.verify(ctx, a)
	case a.Proof == nil:
		return core.Grant{}, denied(core.ReasonMalformed)
	case string(text) == testPassword:
		return core.Grant{Account: a.Account, Session: []byte("session")}, nil
	}
	return core.Grant{}, denied(core.ReasonWrong)
}

func (e *fakeEngine) Ready(ctx context.Context) error {
	if e.ready != nil {
		return e.ready(ctx)
	}
	return nil
}

func (e *fakeEngine) Jitter(account string) uint64 {
	if e.jitter != nil {
		return e.jitter(account)
	}
	return 0
}

func (e *fakeEngine) attempts() []asked {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]asked(nil), e.asked...)
}

// A fakeMemory is a Memory that can fail.
type fakeMemory struct {
	mu   sync.Mutex
	seen map[string]bool
	err  error
}

func (m *fakeMemory) Seen(client string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[client], m.err
}

func (m *fakeMemory) SetSeen(client string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.seen[client] = true
	}
	return m.err
}

// A fakeSocket keeps what is sent.
type fakeSocket struct {
	id   uint16
	mu   sync.Mutex
	sent []sent
}

type sent struct {
	reply []byte
	at    time.Time
	to    netip.AddrPort
}

func (f *fakeSocket) number() uint16 { return f.id }

func (f *fakeSocket) add(reply []byte, to *path) (failed int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, sent{bytes.Clone(reply), time.Now(), to.from})
	return 0, nil
}

func (*fakeSocket) flush() (failed int, err error) { return 0, nil }

// A syncBuffer is a log that many goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A harness is a server without sockets, in a bubble of testing/synctest:
// time passes only where the test says so.
type harness struct {
	t      testing.TB
	s      *Server
	sock   *fakeSocket
	engine *fakeEngine
	log    *syncBuffer
	path   path
	now    int // replies that were looked at already
}

var testSource = netip.MustParseAddrPort("192.0.2.10:5000")

// otherSource is an address of localClient.
var otherSource = netip.MustParseAddrPort("127.0.0.1:5000")

func testClient() Client {
	return Client{Name: "vpn1", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")}, Secrets: [][]byte{[]byte(testSecret)}}
}

func testConfig(clients ...Client) Config {
	if len(clients) == 0 {
		clients = []Client{testClient()}
	}
	return Config{Listen: []string{"127.0.0.1:0"}, Clients: clients, Redact: func(name string) string { return name }}
}

func newHarness(t testing.TB, config Config, engine *fakeEngine, memory Memory) *harness {
	t.Helper()
	log := &syncBuffer{}
	s, err := newServer(config, engine, memory, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	sock := &fakeSocket{}
	return &harness{t: t, s: s, sock: sock, engine: engine, log: log, path: path{sock: sock, from: testSource}}
}

// inBubble runs f on a server of config.
func inBubble(t *testing.T, config Config, engine *fakeEngine, f func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, config, engine, nil)
		defer func() { _ = h.s.Close() }()
		f(h)
	})
}

// handle is all that becomes of a datagram that comes alone.
func (s *Server) handle(datagram []byte, from *path, l *lane) {
	s.open(datagram, from, l)
	s.admitAll(l)
}

// ask sends raw and waits until nothing moves any more.
func (h *harness) ask(raw []byte) {
	h.t.Helper()
	h.s.handle(bytes.Clone(raw), &h.path, newLane(nil))
	synctest.Wait()
}

// replies returns what was sent since the last call.
func (h *harness) replies() []sent {
	h.sock.mu.Lock()
	defer h.sock.mu.Unlock()
	fresh := h.sock.sent[h.now:]
	h.now = len(h.sock.sent)
	return fresh
}

// reply returns the one reply there must be, checked against its request.
func (h *harness) reply(request []byte, code byte) []byte {
	h.t.Helper()
	all := h.replies()
	if len(all) != 1 {
		h.t.Fatalf("%d replies, want one", len(all))
	}
	checkReply(h.t, all[0].reply, request, testSecret)
	if got := all[0].reply[0]; got != code {
		h.t.Fatalf("reply has the code %d, want %d", got, code)
	}
	return all[0].reply
}

// silent waits d and wants no reply, and one more packet counted under why.
func (h *harness) silent(d time.Duration, why drop) {
	h.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if all := h.replies(); len(all) != 0 {
		h.t.Fatalf("%d replies, want silence; the first: %x", len(all), all[0].reply)
	}
	if why != dropNone && h.s.counters.dropped[why].Load() == 0 {
		h.t.Errorf("nothing counted as %v: %v", why, h.s.Counters().Dropped)
	}
}

func (h *harness) later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// What follows makes and checks packets without any code of the package.

func attr(kind byte, value string) []byte {
	return append([]byte{kind, byte(2 + len(value))}, value...)
}

func vsa(vendor uint32, kind byte, value string) []byte {
	inner := append(binary.BigEndian.AppendUint32(nil, vendor), attr(kind, value)...)
	return attr(26, string(inner))
}

func rawPacket(code, id byte, authenticator string, attributes ...[]byte) []byte {
	raw := append([]byte{code, id, 0, 0}, authenticator...)
	for _, a := range attributes {
		raw = append(raw, a...)
	}
	binary.BigEndian.PutUint16(raw[2:], uint16(len(raw)))
	return raw
}

var emptyMA = attr(80, strings.Repeat("\x00", 16))

// signRequest fills the first Message-Authenticator in raw.
func signRequest(raw []byte, secret string) []byte {
	for at := 20; at+2 <= len(raw); at += int(raw[at+1]) {
		if raw[at] == 80 {
			clear(raw[at+2 : at+18])
			mac := hmac.New(md5.New, []byte(secret))
			mac.Write(raw)
			copy(raw[at+2:], mac.Sum(nil))
			return raw
		}
	}
	panic("no Message-Authenticator to fill")
}

// hidePassword is RFC 2865, section 5.2, for any length.
func hidePassword(password, secret, authenticator string) []byte {
	padded := password + strings.Repeat("\x00", (16-len(password)%16)%16)
	if padded == "" {
		padded = strings.Repeat("\x00", 16)
	}
	return attr(2, string(hideBlocks(padded, secret, authenticator)))
}

func hideBlocks(text, secret, authenticator string) []byte {
	before, out := authenticator, []byte(nil)
	for at := 0; at < len(text); at += 16 {
		mask := md5.Sum([]byte(secret + before))
		for i := range mask {
			out = append(out, text[at+i]^mask[i])
		}
		before = string(out[at:])
	}
	return out
}

func testAuthenticator(n int) string {
	sum := md5.Sum(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return string(sum[:])
}

// papRequest is a signed request number n.
func papRequest(n int, name, password string, more ...[]byte) []byte {
	a := testAuthenticator(n)
	attributes := append([][]byte{emptyMA, attr(1, name), hidePassword(password, testSecret, a)}, more...)
	return signRequest(rawPacket(1, byte(n), a, attributes...), testSecret)
}

// unsignedRequest is papRequest without Message-Authenticator.
func unsignedRequest(n int, name, password string, more ...[]byte) []byte {
	a := testAuthenticator(n)
	return rawPacket(1, byte(n), a, append([][]byte{attr(1, name), hidePassword(password, testSecret, a)}, more...)...)
}

func statusRequest(n int) []byte {
	return signRequest(rawPacket(12, byte(n), testAuthenticator(n), emptyMA), testSecret)
}

// checkReply checks what every reply must have (R2, R3): Message-Authenticator
// first and right, Response Authenticator right, identifier and length.
func checkReply(t testing.TB, reply, request []byte, secret string) {
	t.Helper()
	if len(reply) < 38 || int(binary.BigEndian.Uint16(reply[2:])) != len(reply) || len(reply) > 4096 {
		t.Fatalf("reply of %d octets has the length %x", len(reply), reply[2:4])
	}
	if reply[1] != request[1] {
		t.Errorf("reply has identifier %d, request %d", reply[1], request[1])
	}
	if reply[20] != 0x50 || reply[21] != 0x12 {
		t.Fatalf("octets 20 and 21 are %x, want 5012", reply[20:22])
	}
	if !responseRight(reply, request, secret) {
		t.Error("Response Authenticator wrong")
	}
	signed := bytes.Clone(reply)
	copy(signed[4:20], request[4:20])
	clear(signed[22:38])
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write(signed)
	if !hmac.Equal(mac.Sum(nil), reply[22:38]) {
		t.Error("Message-Authenticator of the reply wrong")
	}
}

func responseRight(reply, request []byte, secret string) bool {
	text := bytes.Clone(reply)
	copy(text[4:20], request[4:20])
	sum := md5.Sum(append(text, secret...))
	return bytes.Equal(sum[:], reply[4:20])
}

// attributesOf returns the attributes of a packet, whole.
func attributesOf(raw []byte) (all []string) {
	for at := 20; at < len(raw); at += int(raw[at+1]) {
		all = append(all, string(raw[at:at+int(raw[at+1])]))
	}
	return all
}

func hexFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../testdata/radius/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`#.*|\s`).ReplaceAll(text, nil)
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) == 0 {
		t.Fatalf("%s: %v, %d octets", name, err, len(raw))
	}
	return raw
}

func testSourceOf(address string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(address), 5000)
}
