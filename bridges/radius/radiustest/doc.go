// Package radiustest is a RADIUS server for the tests of its clients: the bridge
// with a client for all of loopback, and with an engine that grants one password
// to everybody.
package radiustest
