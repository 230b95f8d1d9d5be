package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// socketMax is the longest path that a unix socket can have: sun_path of
// unix(7) has 108 bytes, and one of them is the NUL at its end.
const socketMax = 107

// required returns a text that can't be left out or be empty.
func (t *table) required(name, example string) string {
	text := t.text(name, "", example)
	value, ok := t.values[name]
	switch {
	case !ok:
		t.fault(name, "this is missing; write it like %s = %s", name, example)
	case value == "":
		t.fault(name, "this is empty; write it like %s = %s", name, example)
	}
	return text
}

// requiredPath returns a path that can't be left out.
func (t *table) requiredPath(name, example string) string {
	return t.resolve(name, t.required(name, example))
}

// optionalPath returns a path, or def where the key is left out.
func (t *table) optionalPath(name, def string) string {
	text := t.text(name, def, fmt.Sprintf("%q", def))
	if value, ok := t.values[name]; ok && value == "" {
		t.fault(name, "the path is empty; leave it out for %q", def)
		return def
	}
	return t.resolve(name, text)
}

// resolve makes a path relative to the folder of the file a whole one.
func (t *table) resolve(name, path string) string {
	switch {
	case path == "":
		return ""
	case !isPrintable(path):
		t.fault(name, "the path %s has a character that can't be seen; write it without", quoted(path))
		return ""
	case strings.HasPrefix(path, "~/"), strings.HasPrefix(path, "$"):
		t.fault(name, "the path %s stands here as it is, as no shell reads it; write the whole path", quoted(path))
		return ""
	case filepath.IsAbs(path):
		return filepath.Clean(path)
	}
	return filepath.Join(t.r.dir, path)
}

// within reports whether path is folder or lies in it, as far as the names say.
func within(path, folder string) bool {
	if path == "" || folder == "" {
		return false
	}
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// checkSockets refuses what the kernel would refuse later, in worse words.
func checkSockets(r *reader, f *File) {
	taken := map[string]string{}
	check := func(path, section, key string) {
		switch {
		case path == "":
			return
		case len(path) > socketMax:
			r.fault([]string{section, key}, "the path has %d bytes, and the path of a socket can have %d; take a shorter folder", len(path), socketMax)
		case taken[path] != "":
			r.fault([]string{section, key}, "this is also the socket of [%s]; take another path", taken[path])
		}
		taken[path] = section
	}
	check(f.Control.Socket, "control", "socket")
	check(f.Control.SelfService, "control", "self_service")
	if f.PAM != nil {
		check(f.PAM.Socket, "pam", "socket")
	}
}

// listenAddress reads an address and a port to listen on, and says what is
// wrong with it. Names are refused: what they mean can change while nobody looks.
func listenAddress(text, example string) (address netip.AddrPort, wrong string) {
	address, err := netip.ParseAddrPort(text)
	switch {
	case strings.HasPrefix(text, ":"):
		return address, fmt.Sprintf("%s has no address; write \"0.0.0.0%s\" for every IPv4 one or \"[::]%s\" for every IPv6 one", quoted(text), text, text)
	case err != nil:
		return address, fmt.Sprintf("%s is not an address and a port; write it like %q or \"[::1]:1812\"", quoted(text), example)
	}
	return netip.AddrPortFrom(address.Addr().Unmap(), address.Port()), ""
}
