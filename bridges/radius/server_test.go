package radius

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
	"github.com/keywicket/keywicket/core"
	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
)

// loopback serves config on real sockets until the test ends.
func loopback(t testing.TB, config Config, engine *fakeEngine) *Server {
	t.Helper()
	s, err := Listen(config, engine, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func localClient() Client {
	c := testClient()
	c.Prefixes = prefixes("127.0.0.0/8", "::1/128")
	return c
}

// trade is one datagram there and one back.
func trade(t *testing.T, to netip.AddrPort, raw []byte) []byte {
	t.Helper()
	conn, err := net.Dial("udp", to.String()) // connected: takes no answer from another address
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	var buf [4096]byte
	n, err := conn.Read(buf[:])
	if err != nil {
		t.Fatalf("%v: %v", to, err)
	}
	return buf[:n]
}

// R6: the answer leaves from the address that was asked, on a socket of all.
func TestR6AnswerFromTheAddressAsked(t *testing.T) {
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err == nil {
		conn.Close()
	}
	for listen, asked := range map[string][]string{
		"0.0.0.0:0": {"127.0.0.1", "127.0.0.2", "127.1.2.3"},
		":0":        {"127.0.0.1", "127.0.0.2", "::1"},
		"[::]:0":    {"::1"},
		"[::1]:0":   {"::1"},
	} {
		if err != nil && (listen != "0.0.0.0:0") {
			t.Logf("%s: no IPv6 here", listen)
			continue
		}
		config := testConfig(localClient())
		config.Listen = []string{listen}
		s := loopback(t, config, &fakeEngine{})
		for i, address := range asked {
			to := netip.AddrPortFrom(netip.MustParseAddr(address), s.Addrs()[0].Port())
			request := papRequest(i, testName, testPassword)
			reply := trade(t, to, request)
			checkReply(t, reply, request, testSecret)
			if reply[0] != codeAccessAccept {
				t.Errorf("%s at %s: code %d", listen, address, reply[0])
			}
		}
	}
}

// RFC 2865, section 4: with the client of layeh.com/radius.
func TestLayehClient(t *testing.T) {
	config := testConfig(localClient())
	config.RejectDelay = 1
	class, err := ParseReply("Class", "staff")
	if err != nil {
		t.Fatal(err)
	}
	config.Clients[0].Reply = []Attribute{class}
	never(&config.Clients[0])
	s := loopback(t, config, &fakeEngine{})
	for password, want := range map[string]layeh.Code{testPassword: layeh.CodeAccessAccept, "wrong": layeh.CodeAccessReject} {
		p := layeh.New(layeh.CodeAccessRequest, []byte(testSecret))
		if err := rfc2865.UserName_SetString(p, testName); err != nil {
			t.Fatal(err)
		}
		if err := rfc2865.UserPassword_SetString(p, password); err != nil {
			t.Fatal(err)
		}
		client := layeh.Client{Retry: 5 * time.Second}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		reply, err := client.Exchange(ctx, p, s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if reply.Code != want || len(rfc2869.MessageAuthenticator_Get(reply)) != 16 {
			t.Errorf("%v, want %v; %v", reply.Code, want, reply.Attributes)
		}
		if want != layeh.CodeAccessAccept {
			continue
		}
		classes, err := rfc2865.Class_GetStrings(reply)
		if err != nil || strings.Join(classes, " ") != "session staff" {
			t.Errorf("Class %q, %v", classes, err)
		}
	}
}

// With the real radclient, which checks our Message-Authenticator too.
func TestRadclient(t *testing.T) {
	program, err := exec.LookPath("radclient")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("radclient is missing: apt-get install freeradius-utils")
		}
		t.Skip("radclient is missing")
	}
	config := testConfig(localClient())
	config.RejectDelay = 1
	s := loopback(t, config, &fakeEngine{})
	for name, tt := range map[string]struct{ kind, input, want string }{
		"right":    {"auth", "User-Name=" + testName + ",User-Password=" + testPassword + ",Message-Authenticator=0x00", "Access-Accept"},
		"wrong":    {"auth", "User-Name=" + testName + ",User-Password=wrong,Message-Authenticator=0x00", "Access-Reject"},
		"CHAP":     {"auth", "User-Name=" + testName + ",CHAP-Password=" + testPassword + ",Message-Authenticator=0x00", "Access-Reject"},
		"proxied":  {"auth", "User-Name=" + testName + ",User-Password=" + testPassword + ",Proxy-State=0x0102,Message-Authenticator=0x00", "Access-Accept"},
		"status":   {"status", "Message-Authenticator=0x00", "Access-Accept"},
		"unsigned": {"auth", "User-Name=" + testName + ",User-Password=" + testPassword, "No reply"},
	} {
		t.Run(name, func(t *testing.T) {
			secret := t.TempDir() + "/secret"
			if err := os.WriteFile(secret, []byte(testSecret), 0o600); err != nil {
				t.Fatal(err)
			}
			wait := "10"
			if tt.want == "No reply" {
				wait = "1"
			}
			cmd := exec.CommandContext(t.Context(), program, "-x", "-r", "1", "-t", wait, "-S", secret, s.Addrs()[0].String(), tt.kind)
			cmd.Stdin = strings.NewReader(tt.input + "\n")
			out, _ := cmd.CombinedOutput() // a Reject is exit 1
			if !bytes.Contains(out, []byte(tt.want)) || bytes.Contains(out, []byte("invalid")) {
				t.Errorf("want %q: %s", tt.want, out)
			}
		})
	}
}

// Listen says what is wrong and what to do.
func TestListenErrors(t *testing.T) {
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for address, want := range map[string]string{
		taken.LocalAddr().String(): "in use by another program",
		"192.0.2.1:0":              "no address of this host",
		"nowhere:1812":             "no IP address",
	} {
		config := testConfig(localClient())
		config.Listen = []string{"127.0.0.1:0", address}
		_, err := Listen(config, &fakeEngine{}, nil, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), strings.TrimSuffix(address, ":0")) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Section 10: a reload loses no packet, and a bad one changes nothing.
func TestReload(t *testing.T) {
	config := testConfig(localClient())
	s := loopback(t, config, &fakeEngine{})
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			next := config
			next.Clients = []Client{localClient()}
			next.Clients[0].ServiceName = fmt.Sprint("s", i%2)
			if err := s.Reload(next); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for n := range 500 {
		request := papRequest(n, testName, testPassword)
		checkReply(t, trade(t, s.Addrs()[0], request), request, testSecret)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	before := s.table.Load()
	bad := config
	bad.Clients = []Client{{Name: "vpn1"}}
	other := config
	other.Listen = []string{"127.0.0.1:1"}
	if err := s.Reload(bad); err == nil || s.table.Load() != before {
		t.Errorf("a bad configuration was taken: %v", err)
	}
	if err := s.Reload(other); err == nil || !strings.Contains(err.Error(), "restart") || s.table.Load() != before {
		t.Errorf("other addresses were taken: %v", err)
	}
}

// Close waits for everything, also for an attempt that hangs.
func TestClose(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	engine := &fakeEngine{verify: func(ctx context.Context, _ core.Attempt) (core.Grant, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return core.Grant{}, nil
	}}
	s, err := Listen(testConfig(localClient()), engine, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	conn, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(papRequest(1, testName, testPassword)); err != nil {
		t.Fatal(err)
	}
	<-started
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("Close did not wait")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Serve(context.Background()); err == nil {
		t.Error("served after Close")
	}
	if err := s.Reload(testConfig(localClient())); err == nil {
		t.Error("reloaded after Close")
	}
	if s.counters.dropped[dropLate].Load() != 1 {
		t.Errorf("dropped %v", s.Counters().Dropped)
	}
}

// A stuckEngine grants what it is asked at once, up to the request at which it stops
// until it is let go.
type stuckEngine struct {
	quietEngine
	asked int // by the one reader
	at    int
	free  chan struct{}
}

func (e *stuckEngine) VerifyText(a *core.Attempt, name, _ []byte, g *core.Grant) (bool, error) {
	a.Account = string(name)
	*g = core.Grant{Account: a.Account}
	if e.asked++; e.asked == e.at {
		<-e.free
	}
	return true, nil
}

// The first of many that are read together does not wait for the last.
func TestAnswersBeforeTheLast(t *testing.T) {
	e := &stuckEngine{at: 2*together + 1, free: make(chan struct{})}
	s, err := Listen(testConfig(localClient()), e, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	all, err := datagram.Listen("udp4", "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	c := all[0]
	defer c.Close()
	w := c.NewWriter()
	for n := range e.at { // one port has 256 identifiers; the last is one that is used again
		_, _ = w.Add(papRequest(n, testName, testPassword), &datagram.Path{Peer: s.Addrs()[0]})
	}
	if failed, err := w.Flush(); failed > 0 {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(t.Context()) }() // they all wait for it
	defer s.Close()
	defer close(e.free)
	r := c.NewReader()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	for n := 0; n < 2*together; {
		if err := r.Read(); err != nil {
			t.Fatalf("%d answers, and then %v", n, err)
		}
		for _, _, ok := r.Next(); ok; _, _, ok = r.Next() {
			n++
		}
	}
}
