package probe_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"

	"github.com/keywicket/keywicket/bridges/radius/probe"
	"github.com/keywicket/keywicket/bridges/radius/radiustest"
	"github.com/keywicket/keywicket/core/proof"
)

const (
	secret   = radiustest.Secret
	account  = `CONTOSO\alain@contoso.com`
	password = radiustest.Password
)

func ask(t testing.TB, server string, m proof.Method, change func(*probe.Request)) (probe.Answer, error) {
	t.Helper()
	r := probe.Request{Server: server, Secret: []byte(secret), Method: m, Account: account, Password: password, Timeout: 30 * time.Second}
	if change != nil {
		change(&r)
	}
	return probe.Ask(t.Context(), r)
}

// By every method, with what is right and wrong.
func TestAsk(t *testing.T) {
	server := radiustest.Serve(t).String()
	for _, m := range proof.Methods() {
		a, err := ask(t, server, m, nil)
		if err != nil || !a.Accepted(m) || a.MessageAuthenticator != probe.Right || a.Sent < 1 || a.Took <= 0 {
			t.Errorf("%s: %+v, %v", m, a, err)
		}
		if mutual := m == proof.MethodMSCHAPv2; (a.AuthenticatorResponse == probe.Right) != mutual || (a.Keys == probe.Right) != mutual {
			t.Errorf("%s: %+v", m, a)
		}
		a, err = ask(t, server, m, func(r *probe.Request) { r.Password = "wrong" })
		if err != nil || a.Accepted(m) || a.Code != radius.CodeAccessReject || a.MessageAuthenticator != probe.Right {
			t.Errorf("%s, wrong: %+v, %v", m, a, err)
		}
		if _, err := ask(t, server, m, func(r *probe.Request) {
			r.Secret, r.Timeout, r.Repeat = []byte("another secret"), 300*time.Millisecond, 100*time.Millisecond
		}); !errors.Is(err, probe.ErrSilent) {
			t.Errorf("%s, another secret: %v", m, err)
		}
	}
	for _, r := range []func(*probe.Request){
		func(r *probe.Request) { r.Secret = nil },
		func(r *probe.Request) { r.Method = proof.MethodMSCHAPv1 },
		func(r *probe.Request) { r.Method = "" },
		func(r *probe.Request) { r.Server = "127.0.0.1" },
	} {
		if _, err := ask(t, server, proof.MethodCleartext, r); err == nil {
			t.Error("a request that cannot be sent is no error")
		}
	}
	for _, r := range []func(*probe.Request){
		func(r *probe.Request) { r.Account = string(make([]byte, 254)) },
		func(r *probe.Request) { r.Device = string(make([]byte, 254)) },
		func(r *probe.Request) { r.Password = string(make([]byte, 129)) },
	} {
		if _, err := ask(t, server, proof.MethodCleartext, r); !errors.Is(err, probe.ErrRequest) {
			t.Errorf("what is too long: %v", err)
		}
	}
	for _, r := range []func(*probe.Request){
		func(r *probe.Request) { r.From = netip.MustParseAddr("::1") },
		func(r *probe.Request) { r.From = netip.MustParseAddr("192.0.2.123") },
		func(r *probe.Request) { r.Server = "127.0.0.1:99999" },
	} {
		if _, err := ask(t, server, proof.MethodCleartext, r); !errors.Is(err, probe.ErrUnreachable) {
			t.Errorf("what cannot be reached: %v", err)
		}
	}
	if a, err := ask(t, server, proof.MethodCleartext, func(r *probe.Request) { r.From = netip.MustParseAddr("127.0.0.77") }); err != nil || !strings.HasPrefix(a.From, "127.0.0.77:") {
		t.Errorf("asked from 127.0.0.77: %+v, %v", a, err)
	}
}

// between is a middleman that changes what the server answers, until the test
// ends.
func between(t *testing.T, server string, change func(request, reply []byte) []byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var request, reply [4096]byte
		for {
			n, from, err := conn.ReadFrom(request[:])
			if err != nil {
				return
			}
			_, _ = up.Write(request[:n])
			m, err := up.Read(reply[:])
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(change(request[:n], bytes.Clone(reply[:m])), from)
		}
	}()
	t.Cleanup(func() { _, _ = conn.Close(), up.Close(); <-done })
	return conn.LocalAddr().String()
}

// Nothing that was changed on the way is an answer, wherever it was.
func TestForged(t *testing.T) {
	server := radiustest.Serve(t).String()
	flip := func(at int) func([]byte) []byte {
		return func(reply []byte) []byte { reply[(at+len(reply))%len(reply)] ^= 1; return reply }
	}
	for name, change := range map[string]func([]byte) []byte{
		"code": flip(0), "identifier": flip(1), "length": flip(3), "authenticator": flip(4), "Message-Authenticator": flip(22), "last octet": flip(-1),
		"cut":     func(reply []byte) []byte { return reply[:len(reply)-1] },
		"nothing": func([]byte) []byte { return nil },
		"header":  func(reply []byte) []byte { return reply[:20] },
	} {
		address := between(t, server, func(_, reply []byte) []byte { return change(reply) })
		_, err := ask(t, address, proof.MethodMSCHAPv2, func(r *probe.Request) { r.Timeout = 500 * time.Millisecond })
		if !errors.Is(err, probe.ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sign is the Response Authenticator of somebody who knows the shared secret,
// and the Message-Authenticator where it stands first.
func sign(request, reply []byte) []byte {
	binary.BigEndian.PutUint16(reply[2:], uint16(len(reply)))
	copy(reply[4:20], request[4:20])
	if reply[20] == 80 {
		clear(reply[22:38])
		mac := hmac.New(md5.New, []byte(secret))
		mac.Write(reply)
		copy(reply[22:38], mac.Sum(nil))
	}
	sum := md5.Sum(append(bytes.Clone(reply), secret...))
	copy(reply[4:20], sum[:])
	return reply
}

// A server that knows the shared secret and not the password: its yes is none.
func TestServerWithoutPassword(t *testing.T) {
	server := radiustest.Serve(t).String()
	after := func(find string) func([]byte) []byte {
		return func(reply []byte) []byte {
			reply[bytes.Index(reply, []byte(find))+len(find)+2] ^= 1
			return reply
		}
	}
	for name, tt := range map[string]struct {
		change           func([]byte) []byte
		mutual, keys, ma probe.Check
		accepted         bool
	}{
		"nothing changed":          {func(reply []byte) []byte { return reply }, probe.Right, probe.Right, probe.Right, true},
		"authenticator response":   {after("S="), probe.Wrong, probe.Right, probe.Right, false},
		"identifier of it":         {after("\x00\x00\x01\x37"), probe.Wrong, probe.Right, probe.Right, false},
		"send key":                 {after("\x00\x00\x01\x37\x10\x24"), probe.Right, probe.Wrong, probe.Right, false},
		"receive key":              {after("\x00\x00\x01\x37\x11\x24"), probe.Right, probe.Wrong, probe.Right, false},
		"an Accept and no more":    {func(reply []byte) []byte { return reply[:38] }, probe.Absent, probe.Absent, probe.Right, false},
		"no Message-Authenticator": {func(reply []byte) []byte { return append(reply[:20], reply[38:]...) }, probe.Right, probe.Right, probe.Absent, true},
	} {
		address := between(t, server, func(request, reply []byte) []byte { return sign(request, tt.change(reply)) })
		a, err := ask(t, address, proof.MethodMSCHAPv2, nil)
		if err != nil || a.AuthenticatorResponse != tt.mutual || a.Keys != tt.keys || a.MessageAuthenticator != tt.ma || a.Accepted(proof.MethodMSCHAPv2) != tt.accepted {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// RFC 3579, section 3.2: a Message-Authenticator that is wrong is no answer, also
// where the Response Authenticator is right, as with CVE-2024-3596; nor are two.
func TestWrongMessageAuthenticator(t *testing.T) {
	server := radiustest.Serve(t).String()
	response := func(request, reply []byte) []byte {
		binary.BigEndian.PutUint16(reply[2:], uint16(len(reply)))
		copy(reply[4:20], request[4:20])
		sum := md5.Sum(append(bytes.Clone(reply), secret...))
		copy(reply[4:20], sum[:])
		return reply
	}
	for name, change := range map[string]func([]byte) []byte{
		"wrong":     func(reply []byte) []byte { reply[22] ^= 1; return reply },
		"two":       func(reply []byte) []byte { return append(reply, reply[20:38]...) },
		"16 octets": func(reply []byte) []byte { return append(append(reply[:20], 80, 17), reply[23:38]...) },
	} {
		address := between(t, server, func(request, reply []byte) []byte { return response(request, change(reply)) })
		_, err := ask(t, address, proof.MethodCleartext, func(r *probe.Request) { r.Timeout = 500 * time.Millisecond })
		if !errors.Is(err, probe.ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A lost datagram is sent again, the same to the octet; and the end of the
// caller's context ends it.
func TestRepeats(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var seen [][]byte
	done := make(chan struct{})
	go func() {
		defer close(done)
		var buf [4096]byte
		for range 3 {
			n, _, err := conn.ReadFrom(buf[:])
			if err != nil {
				return
			}
			seen = append(seen, bytes.Clone(buf[:n]))
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-done; cancel() }()
	a, err := probe.Ask(ctx, probe.Request{Server: conn.LocalAddr().String(), Secret: []byte(secret), Method: proof.MethodCHAP,
		Account: account, Password: password, Device: "device", Repeat: 20 * time.Millisecond, Timeout: time.Minute})
	if !errors.Is(err, probe.ErrSilent) || a.Sent < 3 || a.Took > 30*time.Second {
		t.Errorf("%+v, %v", a, err)
	}
	if len(seen) != 3 || !bytes.Equal(seen[0], seen[1]) || !bytes.Equal(seen[0], seen[2]) || !bytes.Contains(seen[0], []byte("\x1f\x08device")) {
		t.Errorf("%x", seen)
	}
}
