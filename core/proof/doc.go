// Package proof is what a device can present when it signs in, and what must
// be kept of an app password to check it.
//
// A clear text is checked by the engine with one keyed hash. The challenge
// methods cannot be: each is a Trial, which is tried against the material of
// one app password after the other. What their answer needs of the material, it
// gives as values that do not lead back to it.
//
// The package depends on the standard library and golang.org/x/crypto.
package proof
