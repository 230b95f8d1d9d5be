//go:build 386 || arm || mips || mipsle

package badgerstore

// Badger (4.9.6 too) reads and writes damaged tables on processors of 32 bits, also
// by itself: a few hundred values of 100 KiB are enough. So this does not build there.
const _ = badgerDamagesItsTablesOn32Bits
