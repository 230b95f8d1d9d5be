// Package store is the contract between the engine and whatever keeps its
// records: an ordered map from keys to small sealed values.
//
// A vendor who writes a store imports this package and nothing else of ours;
// it depends on the standard library alone. The suite in
// core/store/storetest checks every sentence of the contract.
package store
