// Package local is a directory whose accounts Keywicket keeps itself: sealed
// records in the store that the engine uses too, with the argon2id of the main
// password. Two-step verification is left to the engine.
//
// It depends on core/store and core/keyring, on the stored form of records,
// and on golang.org/x/crypto for argon2id.
package local
