package radius

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
)

const (
	socketBuffer = 4 << 20 // octets, where the kernel allows it
	maxReaders   = 16      // of one address
	readPause    = 10 * time.Millisecond

	// together is how many datagrams are looked at until their answers go out: so
	// many that a system call is little beside them, and so few that the first does
	// not wait for more than a millisecond or two. After a standstill, thousands are
	// read at once.
	together = 128
)

// A socket is one address that is listened on, whatever number of sockets the
// kernel has for it: for all that is remembered of requests they are one.
type socket struct {
	conns      []*datagram.Conn
	id         uint16
	accounting bool

	// For what no reader answers: out collects while sending sends what it had, so
	// that nobody waits for the other's system call.
	mu      sync.Mutex
	out     *datagram.Writer // mu is held
	sending sync.Mutex       // before mu
	spare   *datagram.Writer // empty; sending is held
}

func (k *socket) number() uint16 { return k.id }

// listenSocket binds address. Its errors say what to do.
func listenSocket(address string, id uint16) (*socket, error) {
	network, err := network(address)
	if err != nil {
		return nil, fmt.Errorf("radius: listen: %w", err)
	}
	conns, err := datagram.Listen(network, address, min(runtime.GOMAXPROCS(0), maxReaders))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("radius: listen: %s is in use by another program; stop that one (ss -lunp shows it), or listen on another port: %w", address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("radius: listen: %s is no address of this host; correct it, or listen on 0.0.0.0: %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("radius: listen: %s needs rights that this process lacks; take a port from 1024 up: %w", address, err)
	case err != nil:
		return nil, fmt.Errorf("radius: listen: %s: %w", address, err)
	}
	for _, c := range conns {
		c.SetBuffers(socketBuffer)
	}
	return newSocket(conns, id), nil
}

func newSocket(conns []*datagram.Conn, id uint16) *socket {
	return &socket{conns: conns, id: id, out: conns[0].NewWriter(), spare: conns[0].NewWriter()}
}

// addr is what was bound, with the port that the kernel chose for port 0.
func (k *socket) addr() netip.AddrPort { return k.conns[0].Addr() }

// stop ends every read.
func (k *socket) stop() {
	for _, c := range k.conns {
		_ = c.SetReadDeadline(time.Now())
	}
}

func (k *socket) close() error {
	var errs []error
	for _, c := range k.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// add is for a reply that goes out with others. It leaves from the address that
// was asked (RFC 2865, section 3: a device takes no answer from another one).
func (k *socket) add(reply []byte, to *path) (failed int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.out.Add(reply, to.datagram())
}

// flush sends what was added, by anybody.
func (k *socket) flush() (failed int, err error) {
	k.sending.Lock()
	defer k.sending.Unlock()
	k.mu.Lock()
	k.out, k.spare = k.spare, k.out
	k.mu.Unlock()
	return k.spare.Flush()
}

// send sends one datagram by itself, for those who want to know what becomes of it.
func (k *socket) send(raw []byte, to *path) error {
	k.sending.Lock()
	defer k.sending.Unlock()
	if _, err := k.spare.Add(raw, to.datagram()); err != nil {
		return err
	}
	_, err := k.spare.Flush()
	return err
}

// datagram returns p as it is for those who know nothing of RADIUS.
func (p *path) datagram() *datagram.Path {
	return &datagram.Path{Peer: p.from, Local: p.local, Iface: p.iface}
}

// read hands every datagram of c to the server until c is closed.
func (s *Server) read(ctx context.Context, k *socket, c *datagram.Conn) {
	l, r := newLane(c.NewWriter()), c.NewReader()
	at := path{sock: k, accounting: k.accounting}
	for {
		if err := r.Read(); err != nil {
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return
			}
			s.readFailed(err)
			select { // rather late than busy
			case <-time.After(readPause):
			case <-ctx.Done():
				return
			}
			continue
		}
		l.now = time.Now()
		n := 0
		for data, from, ok := r.Next(); ok; data, from, ok = r.Next() {
			at.from, at.local, at.iface = from.Peer, from.Local, from.Iface
			if n++; s.open(data, &at, l) {
				s.admitAll(l)
			}
			if n == together { // the next are as if they had been read later
				s.admitAll(l)
				s.sent(l.out.Flush())
				l.now, n = time.Now(), 0
			}
		}
		s.admitAll(l)
		s.sent(l.out.Flush())
	}
}

// reply puts a reply to those that go out together; without a lane it goes by itself.
func (s *Server) reply(l *lane, reply []byte, to *path) {
	if l == nil || l.out == nil {
		s.send(to, reply)
		return
	}
	s.counters.packet(reply[0])
	s.sent(l.out.Add(reply, to.datagram()))
}
