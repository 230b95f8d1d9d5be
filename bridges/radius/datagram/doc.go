// Package datagram reads and writes UDP in batches: many datagrams with one
// system call (recvmmsg, sendmmsg), and many of one sender in one piece where
// the kernel can (UDP GRO and GSO). Elsewhere than on Linux it does one at a time.
//
// It knows nothing of what is in a datagram. It tells which address a datagram
// was sent to, and answers from there.
//
// The package depends on the standard library and golang.org/x/sys.
package datagram
