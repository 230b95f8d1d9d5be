// Package memstore is a store that lives in memory, for tests and for
// programs that embed the engine and keep nothing.
//
// It depends on core/store alone. Of the contract it keeps everything except
// surviving the end of the process.
package memstore
