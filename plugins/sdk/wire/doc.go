// Package wire holds what the host and the Go plugins must say alike: the
// handshake, the limits, and which status an error travels as.
//
// It depends on the contracts of stores and directories, on go-plugin and on
// gRPC. A plugin needs package sdk alone.
package wire
