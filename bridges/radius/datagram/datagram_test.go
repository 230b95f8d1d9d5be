package datagram_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
)

func listen(t testing.TB, network, address string, n int) []*datagram.Conn {
	t.Helper()
	all, err := datagram.Listen(network, address, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range all {
			_ = c.Close()
		}
	})
	return all
}

// echo sends everything back that comes, until c is closed.
func echo(c *datagram.Conn) {
	r, w := c.NewReader(), c.NewWriter()
	for r.Read() == nil {
		for data, from, ok := r.Next(); ok; data, from, ok = r.Next() {
			_, _ = w.Add(data, from)
		}
		_, _ = w.Flush()
	}
}

func ipv6(t testing.TB) bool {
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Log("there is no IPv6 here")
		return false
	}
	_ = conn.Close()
	return true
}

// What was asked of an address is answered from it, to the octet, whatever the
// sockets are bound to and however many there are.
func TestEcho(t *testing.T) {
	six := ipv6(t)
	for _, tt := range []struct {
		network, listen string
		asked           []string
	}{
		{"udp4", "0.0.0.0:0", []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"}},
		{"udp4", "127.0.0.1:0", []string{"127.0.0.1"}},
		{"udp", ":0", []string{"127.0.0.1", "127.0.0.2", "::1"}},
		{"udp6", "[::]:0", []string{"::1"}},
		{"udp6", "[::1]:0", []string{"::1"}},
	} {
		if tt.network != "udp4" && !six {
			continue
		}
		for _, n := range []int{1, 3} {
			all := listen(t, tt.network, tt.listen, n)
			for _, c := range all {
				if c.Addr().Port() != all[0].Addr().Port() {
					t.Fatal("the sockets have different ports")
				}
				go echo(c)
			}
			for _, asked := range tt.asked {
				for range 8 { // so that each socket has some
					trade(t, netip.AddrPortFrom(netip.MustParseAddr(asked), all[0].Addr().Port()))
				}
			}
		}
	}
}

func trade(t *testing.T, to netip.AddrPort) {
	t.Helper()
	conn, err := net.Dial("udp", to.String()) // connected: takes no answer from another address
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for _, size := range []int{1, 40, 1200, 1201, 9000, 60000} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 65536)
		n, err := conn.Read(got)
		if err != nil || !bytes.Equal(got[:n], sent) {
			t.Fatalf("%s: %d octets came back, want %d: %v", to, n, size, err)
		}
	}
}

// Batches of many lengths to many peers come apart as they were put together.
func TestBatches(t *testing.T) {
	server := listen(t, "udp4", "127.0.0.1:0", 1)[0]
	go echo(server)
	peers := listen(t, "udp4", "127.0.0.1:0", 1)
	peers = append(peers, listen(t, "udp4", "127.0.0.1:0", 1)...)
	to := &datagram.Path{Peer: server.Addr()}
	for i, c := range peers {
		w, r := c.NewWriter(), c.NewReader()
		missing := map[string]bool{}
		for j := range 500 {
			text := fmt.Sprintf("%d %d %s", i, j, strings.Repeat("x", j%7))
			missing[text] = true
			if failed, err := w.Add([]byte(text), to); failed > 0 {
				t.Fatal(err)
			}
		}
		if failed, err := w.Flush(); failed > 0 {
			t.Fatal(err)
		}
		stop := time.AfterFunc(30*time.Second, func() { _ = c.Close() })
		for len(missing) > 0 {
			if err := r.Read(); err != nil {
				t.Fatalf("%d are missing: %v", len(missing), err)
			}
			for data, from, ok := r.Next(); ok; data, from, ok = r.Next() {
				if !missing[string(data)] || from.Peer != server.Addr() {
					t.Fatalf("%q from %v", data, from.Peer)
				}
				delete(missing, string(data))
			}
		}
		stop.Stop()
	}
}

// Nobody shares the address, not even who would share it; and a Reader ends
// with its Conn.
func TestListenTaken(t *testing.T) {
	for _, n := range []int{1, 2} {
		c := listen(t, "udp4", "127.0.0.1:0", n)
		if _, err := datagram.Listen("udp4", c[0].Addr().String(), 2); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%d sockets: a second program got the address: %v", n, err)
		}
		done := make(chan error)
		go func() { done <- c[0].NewReader().Read() }()
		_ = c[0].Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
		if failed, err := add(c[0]); failed != 1 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("written after Close: %d failed, %v", failed, err)
		}
	}
}

func add(c *datagram.Conn) (int, error) {
	w := c.NewWriter()
	_, _ = w.Add([]byte("x"), &datagram.Path{Peer: netip.MustParseAddrPort("127.0.0.1:9")})
	return w.Flush()
}

// One that cannot be sent does not keep the others from it.
func TestFailures(t *testing.T) {
	c, peer := listen(t, "udp4", "127.0.0.1:0", 1)[0], listen(t, "udp4", "127.0.0.1:0", 1)[0]
	w, r := c.NewWriter(), peer.NewReader()
	good := &datagram.Path{Peer: peer.Addr()}
	for _, p := range []*datagram.Path{good, {Peer: netip.MustParseAddrPort("127.0.0.1:0")}, good} {
		if failed, err := w.Add([]byte("text"), p); failed > 0 {
			t.Fatal(err)
		}
	}
	if failed, err := w.Flush(); failed != 1 || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%d failed: %v", failed, err)
	}
	if failed, err := w.Add(nil, good); failed != 1 || err == nil {
		t.Errorf("nothing was sent: %d failed, %v", failed, err)
	}
	for n := 0; n < 2; {
		if err := r.Read(); err != nil {
			t.Fatal(err)
		}
		for _, _, ok := r.Next(); ok; _, _, ok = r.Next() {
			n++
		}
	}
}

// Reading and writing allocate nothing.
func TestAllocations(t *testing.T) {
	c := listen(t, "udp4", "127.0.0.1:0", 1)[0]
	r, w := c.NewReader(), c.NewWriter()
	to := &datagram.Path{Peer: c.Addr()}
	data := make([]byte, 100)
	allocs := testing.AllocsPerRun(100, func() {
		for range 10 {
			_, _ = w.Add(data, to)
		}
		if failed, err := w.Flush(); failed > 0 {
			t.Fatal(err)
		}
		for n := 0; n < 10; {
			if err := r.Read(); err != nil {
				t.Fatal(err)
			}
			for _, _, ok := r.Next(); ok; _, _, ok = r.Next() {
				n++
			}
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
