// Package socket makes the unix sockets that bridges listen on, and asks the
// kernel who is at the other end of a connection. It depends on Linux alone.
package socket
