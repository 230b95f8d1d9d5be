// Package replica is a store that several nodes share, with a copy of it on
// this node that serves reads while the shared one is out of reach.
//
// It owns the copy: what is in it, how old it is, and when it may be used. The
// values are as sealed as in the shared store. It depends on core/store.
//
// While the shared store can be reached, everything is asked of it, and the
// copy is fed by Scan and Watch (follow.go, compare.go). While it cannot, Get
// and Scan are answered from the copy until that is too old, and all else is
// ErrUnavailable; so is a key that is not in the copy, as somebody may have made
// it meanwhile, and so is whatever is asked for as it is now (store.Current). A
// Scan shows what there was then.
// What this node has read or written itself is in the copy before it is
// answered, so that going over to the copy never shows something older.
package replica
