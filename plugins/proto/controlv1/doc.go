// Package controlv1 is the contract of the control socket, version 1: what the
// command line and other programs ask of a running Keywicket.
//
// The code is made from control.proto by contrib/generate.
package controlv1
