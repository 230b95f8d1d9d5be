// Package core is the engine of Keywicket: it issues app passwords, verifies
// what devices present, and keeps the rules of both.
//
// An app password is a generated password for one device of one account. The
// engine knows no network and no file: store, directory, keyring, clock and
// randomness come in from outside with Options. Bridges hand it attempts and
// answer from the kind of the error that comes back; nil alone is a yes.
//
// Every account has one record in the store. Reading it answers a sign-in;
// one conditional write of it makes every change atomic. What was read is kept
// in a cache bounded in octets, which the store's and the directory's Watch
// keep right. Last use and history are collected in memory and written in
// batches, so that a successful sign-in costs no write.
//
// Where app passwords are in use is for core/session to know. The engine holds
// its table, and tells it which app passwords still work.
package core
