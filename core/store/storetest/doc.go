// Package storetest checks that a store keeps the contract of core/store.
//
// Run is for the tests of a store; Cases is for programs that check a store
// they did not build; RunDurable, Serve and Dial are for stores that must
// survive the death of their process. The package depends on core/store alone.
package storetest
