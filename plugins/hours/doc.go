// Command hours is a hook plugin that lets nobody in outside office hours, and
// puts who comes in into a VLAN.
//
// Its settings: from and to ("08:00" and "18:00", of this machine's clock), days
// (["Mon", "Tue", …]; left out: every day), and vlan ("42"; left out: none).
package main
