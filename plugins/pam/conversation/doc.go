// Package conversation is what keywicket-pam is asked and answers, and starts it
// for one question. A stack of PAM modules can hang, crash, fork and change its
// process for good, so each question has a process of its own, which is killed
// with whatever it started when its time is over.
//
// It depends on Linux alone; PAM itself is in the program, which is built apart.
package conversation
