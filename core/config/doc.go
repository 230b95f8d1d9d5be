// Package config reads the configuration file.
//
// It owns the schema, its defaults and the words in which a fault is told. A
// file is read strictly: a key that is not known is a fault, and all faults are
// told at once, each with file, line, key, what is wrong and what to do.
//
// It starts nothing and decides nothing that needs another part of Keywicket.
// What only the caller can know (whether a RADIUS attribute exists, whether a
// secret can be read) the caller adds with File.Fault, which has the line.
//
// It depends on the standard library and on go-toml, and on nothing of ours.
package config
