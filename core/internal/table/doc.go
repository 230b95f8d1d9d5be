// Package table finds values by the keyed hashes of their names.
//
// It depends on core/prefetch alone. Who uses it makes the hashes, locks, and
// compares the names.
package table
