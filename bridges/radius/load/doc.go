// Package load puts a RADIUS server under load, as many devices do at once, and
// measures it: a fixed number of requests in flight, or a fixed rate. It checks
// all that is signed in every reply.
//
// What it sends and checks is computed from the RFCs by itself and not by the
// server's own code, so that the two can find each other's faults.
package load
