package datagram

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A datagram came when the kernel had it, however late it is read.
func TestCame(t *testing.T) {
	all, err := Listen("udp4", "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	c := all[0]
	defer c.Close()
	if err := c.Timestamps(); err != nil {
		t.Fatal(err)
	}
	from, err := net.Dial("udp4", c.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	before := time.Now()
	if _, err := from.Write([]byte("datagram")); err != nil {
		t.Fatal(err)
	}
	for waiting := 0; waiting == 0; {
		err := control(c.raw, func(fd int) (err error) {
			waiting, err = unix.IoctlGetInt(fd, unix.SIOCINQ)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	after := time.Now()
	r := c.NewReader()
	if err := r.Read(); err != nil {
		t.Fatal(err)
	}
	data, _, ok := r.Next()
	if came := r.Came(); !ok || string(data) != "datagram" || came.UnixNano() < before.UnixNano() || came.UnixNano() > after.UnixNano() {
		t.Errorf("%q, %v: came %v, was sent after %v and there before %v", data, ok, came, before, after)
	}
}
