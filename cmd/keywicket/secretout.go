package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A secretOut is where a verb writes the secrets that it made: standard output
// among the rest, or the descriptor that --out-fd names, one a line and nothing
// else.
type secretOut struct {
	fd   int
	file *os.File // nil: standard output
}

func outFDFlag(cmd *cobra.Command, s *secretOut) {
	cmd.Flags().IntVar(&s.fd, "out-fd", -1, "write the secret to this `descriptor` instead of standard output, on a line of its own")
}

// open looks whether the descriptor is there, before anything is made. What
// this program opened itself closes on exec, and is nobody's to name.
//
// From here on a reader that goes away is an error of the write, and no longer
// the end of a program that has yet to say what became of the secret.
func (s *secretOut) open(cmd *cobra.Command) error {
	signal.Ignore(syscall.SIGPIPE)
	if !cmd.Flags().Changed("out-fd") {
		if closedStdout() {
			return usage(cmd, errors.New("standard output is closed, and the secret would be lost; open it, or name a descriptor with --out-fd"))
		}
		return nil
	}
	if s.fd != 1 && s.fd < 3 {
		return usage(cmd, fmt.Errorf("--out-fd %d: a secret goes to standard output (1), or to a descriptor from 3 on", s.fd))
	}
	flags, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return usage(cmd, fmt.Errorf("--out-fd %d: the descriptor is not open; open it, as a shell does with %[1]d>FILE", s.fd))
	}
	if mode, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFL, 0); err != nil || mode&unix.O_ACCMODE == unix.O_RDONLY {
		return usage(cmd, fmt.Errorf("--out-fd %d: the descriptor is not open for writing", s.fd))
	}
	s.file = os.NewFile(uintptr(s.fd), "descriptor "+fmt.Sprint(s.fd))
	return nil
}

// closedStdout says whether standard output was closed when the program began: Go
// opens /dev/null in its place, for reading too, which no shell does.
func closedStdout() bool {
	var stat unix.Stat_t
	mode, err := unix.FcntlInt(1, unix.F_GETFL, 0)
	return err == nil && mode&unix.O_ACCMODE == unix.O_RDWR &&
		unix.Fstat(1, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFCHR && stat.Rdev == unix.Mkdev(1, 3)
}

// elsewhere says whether secrets go to a descriptor of their own.
func (s *secretOut) elsewhere() bool { return s.file != nil }

// write writes secrets to the descriptor, if there is one.
func (s *secretOut) write(secrets ...string) error {
	if !s.elsewhere() {
		return nil
	}
	_, err := s.file.WriteString(strings.Join(secrets, "\n") + "\n")
	return err
}

// notLost returns an error that says what to do where a secret was made and
// could not be written.
func (a *app) notLost(written error, undo string) error {
	if w, ok := a.out.(*keptWriter); ok && written == nil {
		written = w.err
	}
	if written == nil {
		return nil
	}
	return fmt.Errorf("%w; what was made cannot be shown again: %s", written, undo)
}
