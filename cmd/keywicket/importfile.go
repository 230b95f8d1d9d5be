package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// Bounds of what one line of a file of accounts can make us keep.
const (
	maxImportLine   = 48 << 10 // octets
	maxImportGroups = 256      // of an account; the daemon allows fewer
)

// The columns of a file of accounts, and the keys of one of JSON lines.
const (
	columnName    = "name"
	columnGroups  = "groups"
	columnEnabled = "enabled"
	columnHash    = "password_hash"
)

// columns returns all of them, in the order in which they are exported.
func columns() []string { return []string{columnName, columnGroups, columnEnabled, columnHash} }

// An importEntry is one account of a file, or what is wrong with its line.
type importEntry struct {
	account *controlv1.ImportAccount // nil: nothing can be made of the line
	line    uint64
	faults  []string // they repeat nothing that could be a secret

	nameless bool // the name is a fault already
}

func (e *importEntry) fault(format string, args ...any) {
	e.faults = append(e.faults, fmt.Sprintf(format, args...))
}

// An importReader reads a file of accounts. read returns io.EOF at its end;
// any other error says that the file could not be read.
type importReader interface {
	read() (importEntry, error)
	octets() int64 // that were read
}

// newImportReader reads a file of one of the formats.
func newImportReader(r io.Reader, format string) importReader {
	buffered := bufio.NewReaderSize(r, maxImportLine)
	if format == formatJSONL {
		return &jsonlReader{lineReader{r: buffered}}
	}
	c := &csvReader{lineReader: lineReader{r: buffered}}
	c.csv = csv.NewReader(&c.text)
	c.csv.FieldsPerRecord, c.csv.ReuseRecord = -1, true
	return c
}

// A lineReader reads lines of bounded length, and numbers them from 1.
type lineReader struct {
	r      *bufio.Reader
	number uint64
	size   atomic.Int64 // for who shows the progress meanwhile
}

func (l *lineReader) octets() int64 { return l.size.Load() }

// line returns the next line that is not blank, without its end, until the next
// call. The entry has the faults that make it no text.
func (l *lineReader) line() ([]byte, importEntry, error) {
	for {
		text, err := l.r.ReadSlice('\n')
		l.size.Add(int64(len(text)))
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && (!errors.Is(err, io.EOF) || len(text) == 0) {
			return nil, importEntry{}, err
		}
		l.number++
		e := importEntry{line: l.number}
		if errors.Is(err, bufio.ErrBufferFull) {
			e.fault("the line is longer than %d octets", maxImportLine)
			return nil, e, l.skip()
		}
		if l.number == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors put it there
		}
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if !utf8.Valid(text) {
			e.fault("the line is not UTF-8; save the file as UTF-8")
			return nil, e, nil
		}
		return text, e, nil
	}
}

// skip reads to the end of the line.
func (l *lineReader) skip() error {
	for {
		text, err := l.r.ReadSlice('\n')
		l.size.Add(int64(len(text)))
		if err == nil || errors.Is(err, io.EOF) {
			return nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// A csvReader reads accounts from CSV (RFC 4180) with a header line. A cell
// ends on its line: neither a name nor a group has a line end, and a quote that
// is left open takes no other line with it.
type csvReader struct {
	lineReader
	csv    *csv.Reader
	text   oneLine
	header []string // nil: not read yet
	ended  bool
}

// oneLine gives csv.Reader one line at a time.
type oneLine struct{ rest []byte }

// Read reads from the line, to its end.
func (o *oneLine) Read(p []byte) (int, error) {
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// cells splits a line; they hold until the next call.
func (c *csvReader) cells(text []byte) ([]string, error) {
	c.text.rest = text
	cells, err := c.csv.Read()
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		err = parse.Err // the position is ours
	}
	return cells, err
}

func (c *csvReader) read() (importEntry, error) {
	if c.ended {
		return importEntry{}, io.EOF
	}
	text, e, err := c.line()
	if errors.Is(err, io.EOF) && c.header == nil {
		c.ended = true
		e.line = 1
		e.fault("the file is empty; its first line names the columns: %s", strings.Join(columns(), ","))
		return e, nil
	}
	if err != nil {
		return e, err
	}
	var cells []string
	if len(e.faults) == 0 {
		if cells, err = c.cells(text); err != nil {
			e.fault("the line is no CSV: %v; a cell in quotes must end on its line", err)
		}
	}
	if c.header == nil {
		c.readHeader(cells, &e)
		return c.afterHeader(e)
	}
	if len(e.faults) == 0 {
		c.row(cells, &e)
	}
	return e, nil
}

// afterHeader goes on after the header, or ends where that has faults: what stands
// below cannot be told.
func (c *csvReader) afterHeader(e importEntry) (importEntry, error) {
	if len(e.faults) == 0 {
		return c.read()
	}
	c.ended = true
	e.fault("the lines below were not looked at, because the first line does not say what they hold")
	return e, nil
}

func (c *csvReader) readHeader(cells []string, e *importEntry) {
	c.header = []string{}
	if len(e.faults) > 0 {
		return
	}
	for i, cell := range cells {
		name := strings.TrimSpace(cell)
		switch {
		case slices.Contains(columns(), name) && slices.Contains(c.header, name):
			e.fault("the column %s stands there twice", name)
		case name == "password" || name == "main_password":
			e.fault("the column %q is not taken: no main password may stand in a file; give its hash as %s, the PHC string of argon2id", name, columnHash)
		case !slices.Contains(columns(), name):
			// Not repeated: in a file without a first line it may be a secret.
			e.fault("column %d is none of %s, with commas between them", i+1, strings.Join(columns(), ","))
		}
		c.header = append(c.header, name)
	}
	if !slices.Contains(c.header, columnName) {
		e.fault("the column %s is missing", columnName)
	}
}

func (c *csvReader) row(cells []string, e *importEntry) {
	if len(cells) != len(c.header) {
		e.fault("the line has %d cells, and the first line names %d columns", len(cells), len(c.header))
		return
	}
	e.account = &controlv1.ImportAccount{Line: e.line, Enabled: true}
	for i, cell := range cells {
		switch c.header[i] {
		case columnName:
			e.account.Name = cell
		case columnGroups:
			e.account.Groups = splitGroups(cell)
		case columnHash:
			e.account.PasswordHash = cell
		case columnEnabled:
			switch cell {
			case "", "true":
			case "false":
				e.account.Enabled = false
			default:
				e.fault("%s is neither true nor false", columnEnabled)
			}
		}
	}
	e.bound()
}

// bound takes away what would be too much for one request.
func (e *importEntry) bound() {
	if n := len(e.account.Groups); n > maxImportGroups {
		e.fault("%d groups are too many", n)
		e.account = nil
	}
}

// splitGroups splits a cell at semicolons. Spaces around a group do not count.
// A backslash before a semicolon, a backslash or a space makes it part of the
// group.
func splitGroups(cell string) []string {
	if strings.Trim(cell, " ") == "" {
		return nil
	}
	var groups []string
	var group strings.Builder
	kept := 0 // octets that are no spaces at the end
	end := func() {
		groups = append(groups, group.String()[:kept])
		group.Reset()
		kept = 0
	}
	for i := 0; i < len(cell); i++ {
		c := cell[i]
		switch {
		case c == '\\' && i+1 < len(cell) && strings.IndexByte(`;\ `, cell[i+1]) >= 0:
			i++
			group.WriteByte(cell[i])
			kept = group.Len()
		case c == ';':
			end()
		case c == ' ' && group.Len() == 0:
		default:
			group.WriteByte(c)
			if c != ' ' {
				kept = group.Len()
			}
		}
	}
	end()
	return groups
}

// joinGroups makes the cell that splitGroups splits.
func joinGroups(groups []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `;`, `\;`)
	cells := make([]string, len(groups))
	for i, g := range groups {
		body := strings.Trim(g, " ")
		first := strings.Index(g, body)
		cells[i] = strings.Repeat(`\ `, first) + escape.Replace(body) + strings.Repeat(`\ `, len(g)-first-len(body))
	}
	return strings.Join(cells, ";")
}
