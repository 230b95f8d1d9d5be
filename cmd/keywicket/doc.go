// Keywicket issues and verifies app passwords: generated passwords, one for
// each device, for everything that cannot do two-step verification.
//
// The program is the daemon and the command line that talks to it. There is
// one file for each verb; parts.go alone chooses implementations.
package main
