// Package probe asks a RADIUS server as a device does, and checks everything
// that the device and its owner would have to believe in the answer.
//
// What it sends and checks is computed by layeh.com/radius and not by the
// server's own code, so that the two can find each other's faults.
package probe
