package datagram

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	writeMessages = 64   // with one system call
	maxSegments   = 64   // datagrams of one message (UDP_MAX_SEGMENTS of older kernels)
	largestOne    = 1200 // octets of a datagram that may be sent with others in one piece: it fits every link
	lookBack      = 8    // how many messages are looked at for one to join

	arena = 256 << 10 // octets that wait
)

// A Writer collects datagrams and writes them to one Conn. It is for one
// goroutine.
type Writer struct {
	c       *Conn
	headers [writeMessages]mmsghdr
	out     [writeMessages]message
	n       int
	buf     []byte
	used    int
	transit func(fd uintptr) bool // made once, or each Flush would allocate

	sent   int // messages
	failed int // datagrams
	err    error
}

// A message is one datagram, or many of one length to one peer.
type message struct {
	path   Path
	size   int // octets of each datagram
	name   name
	oob    [controlLen]byte
	iovecs [maxSegments]unix.Iovec
	n      int
}

// NewWriter makes a Writer to c.
func (c *Conn) NewWriter() *Writer {
	w := &Writer{c: c, buf: make([]byte, arena)}
	w.transit = w.try
	return w
}

// Add takes a copy of data, to be sent with the next Flush. Where there is no
// room it flushes first, and returns what Flush does.
func (w *Writer) Add(data []byte, to *Path) (failed int, err error) {
	if len(data) == 0 || len(data) > arena {
		return 1, unix.EMSGSIZE
	}
	m := w.joined(len(data), to)
	if w.used+len(data) > len(w.buf) || m == nil && w.n == writeMessages {
		failed, err = w.Flush()
		m = nil
	}
	if m == nil {
		m = &w.out[w.n]
		m.path, m.size, m.n = *to, len(data), 0
		w.n++
	}
	at := w.buf[w.used : w.used+len(data)]
	w.used += copy(at, data)
	m.iovecs[m.n].Base = &at[0]
	m.iovecs[m.n].SetLen(len(data))
	m.n++
	return failed, err
}

// joined returns the message that a datagram can go with, or nil.
func (w *Writer) joined(size int, to *Path) *message {
	if size > largestOne || !w.c.gso.Load() {
		return nil
	}
	for i := w.n - 1; i >= max(0, w.n-lookBack); i-- {
		if m := &w.out[i]; m.size == size && m.n < maxSegments && m.path == *to {
			return m
		}
	}
	return nil
}

// Flush sends what waits. It returns how many datagrams could not be sent, and
// the first reason.
func (w *Writer) Flush() (failed int, err error) {
	if w.n == 0 {
		return 0, nil
	}
	for i := range w.n {
		w.address(&w.headers[i], &w.out[i])
	}
	w.sent, w.failed, w.err = 0, 0, nil
	if err := w.c.raw.Write(w.transit); err != nil { // the Conn is closed
		for ; w.sent < w.n; w.sent++ {
			w.fail(&w.out[w.sent], err)
		}
	}
	w.n, w.used = 0, 0
	return w.failed, w.err
}

// address makes h the header of m.
func (w *Writer) address(h *mmsghdr, m *message) {
	h.Name = (*byte)(unsafe.Pointer(&m.name))
	h.Namelen = m.name.write(m.path.Peer, m.path.Iface, w.c.six)
	h.Iov = &m.iovecs[0]
	h.SetIovlen(m.n)
	oob := m.oob[:0]
	if w.c.asks {
		oob = appendLocal(oob, &m.path)
	}
	if m.n > 1 {
		oob = appendSegment(oob, m.size)
	}
	h.Control = nil
	h.SetControllen(len(oob))
	if len(oob) > 0 {
		h.Control = &m.oob[0]
	}
}

// try sends, and says false where there is no room in the socket's buffer.
func (w *Writer) try(fd uintptr) bool {
	for w.sent < w.n {
		n, errno := sendMessages(fd, w.headers[w.sent:w.n])
		switch {
		case errno == 0:
			w.sent += n
		case errno == unix.EAGAIN:
			return false
		case errno == unix.EINTR:
		default: // of the first message; the others are tried
			m := &w.out[w.sent]
			if m.n > 1 { // some interfaces cannot cut
				w.c.gso.Store(false)
				w.each(fd, m)
			} else {
				w.fail(m, errno)
			}
			w.sent++
		}
	}
	return true
}

// each sends the datagrams of m one by one. What finds no room is lost, as
// datagrams are.
func (w *Writer) each(fd uintptr, m *message) {
	one := &message{path: m.path, size: m.size, n: 1}
	var h [1]mmsghdr
	for i := range m.n {
		one.iovecs[0] = m.iovecs[i]
		w.address(&h[0], one)
		if _, errno := sendMessages(fd, h[:]); errno != 0 {
			w.fail(one, errno)
		}
	}
}

func (w *Writer) fail(m *message, err error) {
	w.failed += m.n
	if w.err == nil {
		w.err = err
	}
}
