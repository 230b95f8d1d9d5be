// Command webpage serves one HTTP page to whoever has an app password, by HTTP
// basic authentication. It is an example of plugins/client.
//
//	webpage -listen 127.0.0.1:8080 -socket /run/keywicket/control.sock    asks the daemon
//	webpage -listen 127.0.0.1:8080 -config FILE                           launches an engine of its own
//
// The service is web/wiki. Passwords cross the network: outside of this host, put
// it behind a server that speaks TLS.
package main
