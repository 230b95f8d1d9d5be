// Package proto holds the wire contracts of Keywicket, one folder a contract
// and version: what programs outside of the daemon may rely on.
package proto
