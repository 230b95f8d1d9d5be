// Package control serves the administration socket: the contract of
// plugins/proto/controlv1 over a unix socket.
//
// Whoever may connect is asked who he is by the kernel (SO_PEERCRED): root, the
// user that the daemon runs as, and the members of one group may administer;
// everybody else is refused whatever he asks. The package owns the socket file
// and translates between the contract and the engine. A program that launched
// the engine for itself is served the same contract, without that socket.
package control
