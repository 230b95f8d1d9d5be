package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/keywicket/keywicket/core"
)

// maxFaults is how many faults a Report lists; the last says if there are more.
const maxFaults = 1000

// A Report is what Verify found. The log is whole if it has no fault.
type Report struct {
	Files  int
	Lines  int
	From   time.Time // of the first line, and of the last
	To     time.Time
	Faults []Fault
}

// A Fault is a place where the log is not as it was written.
type Fault struct {
	File string // name in the directory, or "" for the log as a whole
	Line int    // from 1, or 0 for the file as a whole
	Text string // what is wrong there; printable ASCII
}

func (f Fault) String() string {
	switch {
	case f.File == "":
		return f.Text
	case f.Line == 0:
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// Verify reads the log in dir and checks every line of it under the keys that
// it was written with. It may run while the log is written. An error says that
// the log could not be read; what is wrong with it stands in the report. The
// comment of the package says what can and what cannot be found.
func Verify(dir string, keys [][]byte) (Report, error) {
	signers, err := newSigners(keys)
	if err != nil {
		return Report{}, err
	}
	v := newVerifier(dir, signers, 10)
	if err := v.run(0); err != nil {
		return Report{}, unavailable("verify the audit log", err)
	}
	return v.report, nil
}

// A verifier reads files one after the other.
type verifier struct {
	dir    string
	keys   []*signer
	report Report

	grace    int
	resuming bool // what a crash does is no fault, nor what is recorded already

	chain   chain  // where the next line should go on
	number  uint64 // of the file read last
	deleted uint64 // files up to it were removed by the log itself
	gaps    []gap

	head     head
	headErr  error
	headSeen bool // the line that the head names was seen, or there is none

	// Of the file read last.
	name   string
	line   int
	opened time.Time
	headed bool  // its first line is right
	size   int64 // octets of whole lines
	torn   int64 // octets behind them
	events int   // lines that are not of the log itself
}

// A gap is files that are missing.
type gap struct{ from, to uint64 }

// newVerifier reads the head of the log in dir. grace is for a log that is
// written at the same time: how often something unfinished is read again.
func newVerifier(dir string, keys []*signer, grace int) *verifier {
	v := &verifier{dir: dir, keys: keys, chain: chain{key: keys[0]}, grace: grace}
	// The head comes first: the log may only grow while it is read.
	v.head, v.headErr = readHead(dir, keys, grace)
	v.headSeen = v.headErr == nil && v.head.File == 0
	return v
}

// run reads the files from the number first on. If first is not 0, what was
// before does not matter.
func (v *verifier) run(first uint64) error {
	numbers, err := listFiles(v.dir)
	if err != nil {
		return err
	}
	v.number = max(first, 1) - 1
	for _, number := range numbers {
		if number < first {
			continue
		}
		if v.torn > 0 {
			v.fault(v.line+1, "the last line is not whole: %d octets", v.torn)
		}
		if err := v.file(number, first); errors.Is(err, fs.ErrNotExist) {
			continue // removed since: a gap, which the log explains or not
		} else if err != nil {
			return err
		}
	}
	v.finish()
	return nil
}

// finish judges what only the end of the log tells.
func (v *verifier) finish() {
	if v.torn > 0 && !v.resuming {
		v.fault(v.line+1, "the last line is not whole: %d octets; a crash does this, and the next start of the daemon cuts them off and records it", v.torn)
	}
	v.name = ""
	for _, g := range v.gaps {
		switch from := max(g.from, v.deleted+1); {
		case from == g.to:
			v.fault(0, "the file %s is missing", fileName(from))
		case from < g.to:
			v.fault(0, "the files %s to %s are missing", fileName(from), fileName(g.to))
		}
	}
	switch {
	case v.report.Files == 0 && errors.Is(v.headErr, errNoHead):
		v.fault(0, "there is no audit log here")
		return
	case v.headErr != nil:
		v.name = headName
		v.fault(0, "nothing tells where the log ends: %v", v.headErr)
		return
	case v.headSeen || v.head.File <= v.deleted:
		return
	}
	text := fmt.Sprintf("the line with seq %d, up to which the log was written, is not there or was changed", v.head.Seq)
	if v.chain.seq < v.head.Seq && v.number <= v.head.File {
		text = fmt.Sprintf("the log ends with seq %d, and was written up to seq %d: its end was cut off", v.chain.seq, v.head.Seq)
		if v.chain.seq >= v.head.Synced {
			text += ", or these lines were lost with the power before they were forced to the disk"
		}
	}
	v.name = fileName(v.head.File)
	v.fault(0, "%s", text)
}

// fault notes what is wrong with a line of the file, or with the file if it is 0.
func (v *verifier) fault(line int, format string, args ...any) {
	f := Fault{File: v.name, Line: line, Text: fmt.Sprintf(format, args...)}
	switch n := len(v.report.Faults); {
	case n < maxFaults-1:
		v.report.Faults = append(v.report.Faults, f)
	case n == maxFaults-1:
		v.report.Faults = append(v.report.Faults, Fault{Text: "there are more faults than are listed"})
	}
}

// file reads one file.
func (v *verifier) file(number, first uint64) error {
	f, err := openFile(v.dir, number)
	if err != nil {
		return err
	}
	defer f.Close()
	v.report.Files++
	known := number == v.number+1 && (first == 0 || number > first) // where its chain begins
	if number > v.number+1 {
		v.gaps = append(v.gaps, gap{v.number + 1, number - 1})
	}
	previous := v.name
	*v = verifier{
		dir: v.dir, keys: v.keys, grace: v.grace, resuming: v.resuming, report: v.report, chain: v.chain, number: number, deleted: v.deleted, gaps: v.gaps,
		head: v.head, headErr: v.headErr, headSeen: v.headSeen, name: fileName(number),
	}
	lines := newLineReader(f)
	for {
		line, err := v.next(lines)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return err
		}
		v.line++
		v.report.Lines++
		switch {
		case err != nil:
			v.fault(v.line, "%v", err)
		case v.line == 1:
			v.first(line, known, previous)
		default:
			v.check(line)
		}
	}
	v.size, v.torn = lines.offset, lines.rest()
	return nil
}

// next reads a line. One that is just being written is waited for.
func (v *verifier) next(lines *lineReader) ([]byte, error) {
	for try := 0; ; try++ {
		line, err := lines.next()
		if !errors.Is(err, io.EOF) || lines.rest() == 0 || try >= v.grace {
			return line, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// first checks the first line of a file. known says that the file before it
// was read, and previous is its name.
func (v *verifier) first(line []byte, known bool, previous string) {
	e, err := parseLine(line)
	if err != nil || e.File == nil || e.Event != EventOpened {
		v.fault(1, "the file does not begin with an %s line", EventOpened)
		v.check(line)
		return
	}
	found := false
	for _, key := range v.keys {
		if key.id == e.File.Key {
			v.chain.key, found = key, true
		}
	}
	if !found {
		v.fault(1, "the file was written under a key that was not given")
	}
	claimed := v.chain
	claimed.last, claimed.seq = mac{}, e.Seq-1
	if p := e.File.Previous; p != nil {
		claimed.last, _ = parseMAC([]byte(p.MAC))
	}
	if !known {
		v.chain = claimed
	}
	body, given, ok := splitLine(line)
	switch {
	case !ok:
	case v.chain.key.sum(v.chain.last, body).equal(given):
		if e.File.Broken != "" { // the numbers of lost lines are not given again
			v.chain.seq = claimed.seq
		}
	case v.chain.key.sum(claimed.last, body).equal(given):
		// The line is ours, so it is the file before that is not what it was.
		v.fault(1, "the line does not follow the end of %s: that file was cut, changed or replaced", cmp.Or(previous, "an empty log"))
		v.chain = claimed
	}
	v.headed = v.check(line)
	if v.headed && e.File.Number != v.number {
		v.headed = false
		v.fault(1, "this is the content of %s", fileName(e.File.Number))
	}
	v.opened = e.Time
}

// check checks a line and says whether it is right.
func (v *verifier) check(line []byte) bool {
	body, given, ok := splitLine(line)
	if !ok {
		v.fault(v.line, "this is no line of an audit log")
		return false
	}
	due := v.chain.seq + 1
	want := v.chain.key.sum(v.chain.last, body)
	e, err := parseLine(line)
	right := want.equal(given) && err == nil && e.Seq == due
	v.chain.last = given
	if err == nil {
		v.chain.seq = e.Seq
	} else {
		v.chain.seq = due
	}
	switch {
	case right:
		v.trust(e, given)
	case err == nil && e.Seq != due:
		v.fault(v.line, "the line has seq %d where %d is due: lines are missing, were moved or put in", e.Seq, due)
	default:
		v.fault(v.line, "the line was changed, or the one before it: its mac does not fit")
	}
	return right
}

// trust takes in what a line says that is right.
func (v *verifier) trust(e Entry, given mac) {
	if v.report.From.IsZero() {
		v.report.From = e.Time
	}
	v.report.To = e.Time
	if v.headErr == nil && e.Seq == v.head.Seq && v.number == v.head.File {
		last, ok := parseMAC([]byte(v.head.Last))
		v.headSeen = ok && last.equal(given)
	}
	if e.File == nil {
		v.events++
		return
	}
	switch e.Event {
	case EventOpened:
		if e.File.Broken != "" && !v.resuming {
			v.fault(v.line, "the chain is broken before this file; the daemon found at its start: %s", quoted(e.File.Broken))
		}
	case EventDeleted:
		v.deleted = max(v.deleted, e.File.Number)
	case EventTorn, EventDropped:
	}
}

// quoted returns text as printable ASCII.
func quoted(text string) string {
	var q []byte
	q = appendText(q, text)
	return string(q[1 : len(q)-1])
}

// faultsOf joins faults into one text.
func faultsOf(faults []Fault) string {
	const most = 3
	text := ""
	for i, f := range faults {
		if i == most {
			return text + fmt.Sprintf("; and %d more", len(faults)-most)
		}
		if i > 0 {
			text += "; "
		}
		text += f.String()
	}
	return text
}

var _ core.Recorder = (*Log)(nil)
