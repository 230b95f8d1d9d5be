package main

import (
	"errors"
	"fmt"
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
	level  int      // how many substacks deep the reading is
	chain  []pamLink
}

// A pamLink is a line of any module, in the order in which libpam has them. What
// a file includes stands in its place; a substack is one link, with its own ones a
// level deeper.
type pamLink struct {
	where, kind string
	level       int
	jump        string // the pair of its control that leaves out most lines, such as success=2
	over        int    // as many
	ours        bool
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
	if s.understood() {
		s.checkJumps()
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
	case control == "include":
		s.read(dir, fields[2], of, depth+1)
	case control == "substack":
		s.chain = append(s.chain, pamLink{where: where, kind: of, level: s.level})
		s.level++
		s.read(dir, fields[2], of, depth+1)
		s.level--
	default:
		_, jump, over := pamActions(control)
		ours := filepath.Base(fields[2]) == pamModule
		s.chain = append(s.chain, pamLink{where, of, s.level, jump, over, ours})
		if ours {
			s.lines = append(s.lines, pamLine{where: where, kind: of, options: fields[3:]})
		}
	}
}

// understood says whether the files could be read, and libpam understands them.
func (s *pamStack) understood() bool { return len(s.faults)+len(s.unread) == 0 }

// checkJumps adds the jumps over more lines than follow. libpam finds them when a
// module answers so, and refuses then, whatever the other modules say.
func (s *pamStack) checkJumps() {
	for i, l := range s.chain {
		if n := s.behind(i, l.over); n < l.over {
			s.faults = append(s.faults, fmt.Sprintf("%s: %s jumps too far: the lines of %s behind it are %d (a substack counts as one), and libpam refuses then (\"bad jump in stack\"); count again",
				l.where, l.jump, l.kind, n))
		}
	}
}

// behind returns how many of its kind stand behind the i-th, up to the end of its
// substack; it counts no more than most.
func (s *pamStack) behind(i, most int) (n int) {
	from := s.chain[i]
	for _, l := range s.chain[i+1:] {
		switch {
		case l.kind != from.kind || l.level > from.level:
		case l.level < from.level || n == most:
			return n
		default:
			n++
		}
	}
	return n
}

// jumpsToEnd returns where our line of auth leaves out all that follows, or nothing.
// That is no fault, and no yes either.
func (s *pamStack) jumpsToEnd() string {
	for i, l := range s.chain {
		if l.ours && l.kind == "auth" && l.over > 0 && s.behind(i, l.over+1) == l.over {
			return l.where
		}
	}
	return ""
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
