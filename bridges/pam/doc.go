// Package pam serves the socket that the PAM module asks: somebody signs in at
// a service of this host, and the engine decides.
//
// It owns the wire below, the socket, and the judgement of who may ask. It
// depends on the engine, which it knows by the interface Engine, and on Linux.
//
// # The wire
//
// A unix stream socket, one request and one reply a connection, then it is
// closed. Numbers are big-endian.
//
//	request                                reply
//	 4  length of what follows, <= 4096     4  length of what follows: 19
//	 1  version: 1                          1  version: 1
//	 1  type: 1 authenticate, 2 account     1  the request's type | 0x80
//	16  nonce, any octets                  16  the request's nonce
//	    then five fields, each a length     1  verdict
//	    of 2 octets and so many octets:
//	    service   1 to 64                  verdicts
//	    user      1 to 256                  1  allow
//	    rhost     0 to 256                  2  deny
//	    tty       0 to 64                   3  unavailable: ask somebody else
//	    password  1 to 512; exactly 0       4  unknown user, of account alone
//	              of type account           5  expired, of account alone
//
// Nothing follows the last field, and no field holds a NUL. A request that
// breaks a rule, or comes too late, is not answered: the connection is closed.
// Whoever asks takes everything but a whole and right reply for unavailable.
// PROTOCOL.md says the same for programs other than the module.
//
// # Who may ask
//
// Everybody can connect; the kernel says who did (SO_PEERCRED). Root, and the
// users that the configuration names, may ask for anybody. Every other user of
// /etc/passwd may ask for the account of his own name, five times a minute, and
// is denied another's; who has no entry there is not heard at all.
//
// # What is answered
//
// An allow is a nil error of the engine. Unavailable is an inability: store or
// directory do not answer, or a bug. Everything else is deny, also what is
// throttled: a stack that falls back to another module where Keywicket is
// unavailable must not be brought to do so by failing often. Attempts at a
// service that is not listed, and at users below the smallest user id, are
// denied without a look at the password, and recorded.
//
// A refusal is answered at once: the delay is the module's (pam_fail_delay).
// Which refusal it is cannot be told by the answer; nor by its time, as far as
// the engine's work is alike for an unknown account and a wrong app password: one
// keyed hash. See the engine for the main password, whose check takes longer.
//
// The remote host is what the PAM service says it is, and not verified. It is
// the attempt's source, where it is an address, and its device for a pin.
package pam
