package datagram

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readMessages = 32    // with one system call; each may be many datagrams
	largest      = 65536 // octets of what the kernel puts together

	// stride keeps the beginnings of the buffers from falling on the same
	// lines of the processor's cache.
	stride = largest + 3*64
)

// A Reader reads from one Conn. It is for one goroutine.
type Reader struct {
	c        *Conn
	buf      []byte
	headers  [readMessages]mmsghdr
	iovecs   [readMessages]unix.Iovec
	names    [readMessages]name
	controls [readMessages][controlLen]byte
	receive  func(fd uintptr) bool // made once, or each Read would allocate

	n, at   int // messages; the one that Next is at
	errno   unix.Errno
	rest    []byte // of that one
	segment int
	path    Path
	came    int64 // Unix nanoseconds; zero: it is not known
}

// NewReader makes a Reader of c.
func (c *Conn) NewReader() *Reader {
	r := &Reader{c: c, buf: make([]byte, readMessages*stride)}
	for i := range r.headers {
		r.iovecs[i].Base = &r.buf[i*stride]
		r.iovecs[i].SetLen(largest)
		h := &r.headers[i].Msghdr
		h.Iov = &r.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = &r.controls[i][0]
		r.ready(i)
	}
	r.receive = r.try
	return r
}

// ready undoes what the kernel wrote into header i.
func (r *Reader) ready(i int) {
	r.headers[i].Namelen = unix.SizeofSockaddrInet6
	r.headers[i].SetControllen(controlLen)
	r.headers[i].Flags = 0
}

// Read waits for datagrams and takes as many as there are, up to a bound. Next
// gives them; those that it was not asked for are lost. After Close the error
// is net.ErrClosed.
func (r *Reader) Read() error {
	for i := range r.n {
		r.ready(i)
	}
	r.n, r.at, r.rest = 0, -1, nil
	if err := r.c.raw.Read(r.receive); err != nil {
		return err
	}
	if r.errno != 0 {
		return r.errno
	}
	return nil
}

// try says false where there is nothing to read.
func (r *Reader) try(fd uintptr) bool {
	for {
		r.n, r.errno = receiveMessages(fd, r.headers[:])
		switch r.errno {
		case unix.EAGAIN:
			r.n = 0
			return false
		case unix.EINTR:
			continue
		case 0:
		default:
			r.n = 0
		}
		return true
	}
}

// Next returns the next datagram and where it came from, and false where there
// is none. Both are the Reader's: from is good until the next call, and data until
// the next Read.
func (r *Reader) Next() (data []byte, from *Path, ok bool) {
	if len(r.rest) == 0 {
		r.at++
		if r.at >= r.n {
			return nil, nil, false
		}
		r.open(r.at)
		if len(r.rest) == 0 { // an empty datagram is one, too
			return nil, &r.path, true
		}
	}
	data = r.rest
	if 0 < r.segment && r.segment < len(data) {
		data = data[:r.segment:r.segment]
	}
	r.rest = r.rest[len(data):]
	return data, &r.path, true
}

// Came is when the kernel had the datagram that Next gave, if the Conn has
// Timestamps; else it is now.
func (r *Reader) Came() time.Time {
	if r.came == 0 {
		return time.Now()
	}
	return time.Unix(0, r.came)
}

func (r *Reader) open(i int) {
	h := &r.headers[i]
	r.rest = r.buf[i*stride:][:min(int(h.n), largest)]
	r.path = Path{}
	var zone uint32
	r.path.Peer, zone = r.names[i].read()
	r.path.Local, r.path.Iface, r.segment, r.came = readControl(r.controls[i][:h.Controllen])
	if zone != 0 {
		r.path.Iface = zone
	}
}
