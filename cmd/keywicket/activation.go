package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstGiven is the first descriptor that a service manager hands over
// (sd_listen_fds(3)).
const firstGiven = 3

// givenSocket returns the listening unix socket of that name that the service
// manager handed over (LISTEN_FDS, LISTEN_FDNAMES), or nil where it did not.
// Programs that this one starts inherit none of it.
func givenSocket(name string) (*net.UnixListener, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, variable := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(variable) // fails for impossible names alone
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 64 || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	var given *net.UnixListener
	for i := range n {
		fd := firstGiven + i
		unix.CloseOnExec(fd)
		if given != nil || i >= len(names) || names[i] != name {
			continue
		}
		f := os.NewFile(uintptr(fd), name)
		l, err := net.FileListener(f) // on a descriptor of its own
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("the socket %q of the service manager: %w", name, err)
		}
		var ok bool
		if given, ok = l.(*net.UnixListener); !ok {
			return nil, fmt.Errorf("the socket %q of the service manager is no unix stream socket; write ListenStream= with a path", name)
		}
	}
	return given, nil
}
