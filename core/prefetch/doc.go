// Package prefetch has the processor fetch memory that is needed soon, while it
// does something else.
//
// It depends on nothing. Where it is not known how, it does nothing.
package prefetch
