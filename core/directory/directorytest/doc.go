// Package directorytest checks a directory against the contract in
// core/directory, one promise at a time.
//
// It depends on core/directory and the standard library, and on package
// testing only in Run. Cases takes no *testing.T, so that a command line can
// run the suite on a vendor's program, and so that the suite itself is tested:
// its test plants one fault after the other and wants each to be found.
package directorytest
