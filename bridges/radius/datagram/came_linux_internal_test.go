package datagram

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A datagram came when the kernel had it, however late it is read. What comes in
// the first moment after the kernel was asked for it is stamped as it is read
// (net_enable_timestamp is deferred), so that more than one may be needed.
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
	r := c.NewReader()
	for deadline := time.Now().Add(30 * time.Second); ; {
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
		if err := r.Read(); err != nil {
			t.Fatal(err)
		}
		data, _, ok := r.Next()
		came := r.Came()
		if !ok || string(data) != "datagram" || came.UnixNano() < before.UnixNano() {
			t.Fatalf("%q, %v: came %v, was sent after %v", data, ok, came, before)
		}
		if came.UnixNano() <= after.UnixNano() {
			return
		}
		if after.After(deadline) {
			t.Fatalf("came %v, and was there before %v", came, after)
		}
	}
}
