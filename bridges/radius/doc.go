// Package radius is the RADIUS server of Keywicket: RFC 2865, 2866, 2869, 3579,
// 5080 and 5997, and of RFC 5176 the side that has sessions ended.
//
// It owns everything between a datagram and an attempt: whose datagram it is,
// whether it is genuine, whether it was seen before, what password is in it,
// and what goes back. Whether the password is right is asked of a Verifier.
//
// The order of work on a datagram is fixed, and nothing richer comes before
// it: client by source address, header and attribute walk, code,
// Message-Authenticator, Proxy-State limit, duplicates, exactly one method,
// Verifier, reply. Up to the duplicates nothing is decoded, nothing is read
// from a store and nothing is allocated.
//
// What was read together goes that way together (lane): sixteen at a time are
// proved, and for those that are genuine what the later steps need is computed and
// fetched from memory. Nothing is decided by that.
//
// Silence is an answer here: when a fault is ours the device then asks its
// next server, where a Reject would lock its user out.
//
// The package depends on core, core/proof and core/prefetch. It reads no file and no
// configuration of its own.
package radius
