// Package directory is the contract between the engine and whatever knows the
// accounts: who exists, is enabled, belongs to which groups, and what the main
// password is.
//
// A vendor who writes a directory imports this package and nothing else of
// ours; it depends on the standard library alone. One interface is required;
// the others are offered by directories that can do more. The suite in
// core/directory/directorytest checks every sentence of the contract.
package directory
