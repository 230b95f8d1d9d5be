// Keywicket-directory-ldap is the plugin that takes accounts from LDAP. It hands
// the directory of ldapdirectory to the sdk; README.md says how it is set up.
package main
