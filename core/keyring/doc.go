// Package keyring holds the root keys, which are kept outside of the store,
// and does everything that needs them: it seals and opens the values of
// records, tags the texts of app passwords, and gives the keys of the audit
// log and of the jitter of refusals.
//
// Several root keys can live at once. The last one seals; the others open what
// was sealed before. The package depends on the standard library and on
// golang.org/x/crypto for XChaCha20-Poly1305.
package keyring
