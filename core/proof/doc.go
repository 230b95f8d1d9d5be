// Package proof is what a device can present when it signs in, and what must
// be kept of an app password to check it.
//
// A clear text is checked by the engine with one keyed hash. The challenge
// methods cannot be: each is a Trial, which is tried against the material of
// one app password after the other. The package depends on core/secret alone.
package proof
