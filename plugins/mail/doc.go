// Command mail is a notifier plugin that sends mail: to the address that the
// directory has for the account, or to nobody where it has none.
//
// Its settings: host and from; port (587), tls ("starttls", "tls" or "none"),
// username and password_file; attribute, which of the account's attributes is its
// address ("mail"). It speaks to a mail server that is near: a notice that is not
// taken within two seconds is tried again by the host.
package main
