package main

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	pamDir    = "/etc/pam.d"
	pamModule = "pam_keywicket.so"
	pamSocket = "/run/keywicket/pam.sock" // where the module asks without socket=
	pamMinUID = 1000                      // what the module does not ask about without min_uid=
)

// A pamStack is what the file of a PAM service says of our module (pam.conf(5)).
type pamStack struct {
	path   string
	exists bool
	unread []string // files that it includes and that cannot be read
	files  int      // that were looked at
	lines  []pamLine
	faults []string // what libpam does not understand, each with file and line
}

// A pamLine is one line with our module.
type pamLine struct {
	where   string // file and line number
	kind    string // "auth", "account"
	options []string
}

// readStack reads the file of a service, and what that includes.
func readStack(dir, service string) pamStack {
	s := pamStack{path: filepath.Join(dir, service)}
	_, err := os.Stat(s.path)
	s.exists = !errors.Is(err, fs.ErrNotExist)
	if s.exists {
		s.read(dir, service, "", 0)
	}
	return s
}

// Files that include each other, or themselves, come to an end.
const (
	maxIncluded = 32 // how deep, as in libpam
	maxFiles    = 256
)

// read adds the lines of one file; those of one kind, if kind is not empty.
func (s *pamStack) read(dir, name, kind string, depth int) {
	path := filepath.Join(dir, name)
	if filepath.IsAbs(name) {
		path = name
	}
	text, err := os.ReadFile(path)
	if s.files++; err != nil || depth > maxIncluded || s.files > maxFiles {
		s.unread = append(s.unread, path)
		return
	}
	if before, _, is := strings.Cut(string(text), "\r\n"); is {
		s.faults = append(s.faults, path+":"+strconv.Itoa(1+strings.Count(before, "\n"))+": the line ends as on Windows, and libpam takes that for a part of its last word; write the file with plain newlines")
	}
	whole, first := "", 0
	for i, each := range strings.Split(string(text), "\n") {
		if whole == "" {
			first = i + 1
		}
		each, _, _ = strings.Cut(each, "#")
		if before, more := strings.CutSuffix(strings.TrimRight(each, " \t\r"), "\\"); more {
			whole += before + " "
			continue
		}
		s.line(dir, path+":"+strconv.Itoa(first), kind, pamFields(whole+each), depth)
		whole = ""
	}
}

// line adds a line of a file: kind, control, module and its options.
func (s *pamStack) line(dir, where, kind string, fields []string, depth int) {
	if len(fields) == 0 {
		return
	}
	if len(fields) == 2 && fields[0] == "@include" {
		s.read(dir, fields[1], kind, depth+1)
		return
	}
	of := strings.ToLower(strings.TrimPrefix(fields[0], "-"))
	if kind != "" && of != kind && slices.Contains([]string{"auth", "account", "password", "session"}, of) {
		return // which is not asked here
	}
	if wrong := pamFault(fields); wrong != "" && !slices.Contains(s.faults, where+": "+wrong) { // a file can be included twice
		s.faults = append(s.faults, where+": "+wrong)
	}
	if len(fields) < 3 {
		return
	}
	switch control := strings.ToLower(fields[1]); {
	case kind != "" && of != kind:
	case control == "include", control == "substack":
		s.read(dir, fields[2], of, depth+1)
	case filepath.Base(fields[2]) == pamModule:
		s.lines = append(s.lines, pamLine{where: where, kind: of, options: fields[3:]})
	}
}

// pamFields splits a line; what stands in brackets is one field.
func pamFields(text string) (fields []string) {
	for {
		text = strings.TrimLeft(text, " \t\r")
		if text == "" {
			return fields
		}
		end := strings.IndexAny(text, " \t\r")
		if text[0] == '[' {
			end = strings.IndexByte(text, ']') + 1
		}
		if end <= 0 {
			return append(fields, text)
		}
		fields, text = append(fields, text[:end]), text[end:]
	}
}

// auth returns the first line of the module that authenticates.
func (s *pamStack) auth() (pamLine, bool) {
	i := slices.IndexFunc(s.lines, func(l pamLine) bool { return l.kind == "auth" })
	if i < 0 {
		return pamLine{}, false
	}
	return s.lines[i], true
}

// option returns what stands after NAME= among the options, or def.
func (l pamLine) option(name, def string) string {
	for _, option := range l.options {
		if value, ok := strings.CutPrefix(option, name+"="); ok {
			def = value
		}
	}
	return def
}

// wrong returns the first option that the module refuses to work with
// (bridges/pam/module/options.c), or nothing.
func (l pamLine) wrong() string {
	i := slices.IndexFunc(l.options, func(option string) bool {
		name, value, has := strings.Cut(option, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		switch {
		case !has:
			return !slices.Contains([]string{"debug", "use_first_pass", "try_first_pass"}, name)
		case name == "socket":
			return !filepath.IsAbs(value) || len(value) > 107
		case name == "timeout":
			return err != nil || n < 1 || n > 5
		case name == "min_uid":
			return err != nil || n == math.MaxUint32
		}
		return true
	})
	if i < 0 {
		return ""
	}
	return l.options[i]
}
