package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/keywicket/keywicket/core"
)

// pollEvery is how often Follow looks for new lines.
const pollEvery = 200 * time.Millisecond

// A Filter says which lines are wanted. What is empty lets every line pass.
type Filter struct {
	Account string // compared after core.NormalizeAccount
	Service string
	Reason  core.Reason
	Event   core.EventKind
	Since   time.Time // from then on
	After   uint64    // with a higher seq
}

// A matcher is a Filter that is ready to be asked often.
type matcher struct {
	Filter
	account string // normalised, or as it is
}

func newMatcher(f Filter) matcher { return matcher{f, normalized(f.Account)} }

// normalized returns the form of a name by which it is compared.
func normalized(name string) string {
	if n, err := core.NormalizeAccount(name); err == nil {
		return n
	}
	return cut(name)
}

func (m *matcher) match(e *Entry) bool {
	return (m.Service == "" || m.Service == e.Service) &&
		(m.Reason == "" || m.Reason == e.Reason) &&
		(m.Event == "" || m.Event == e.Event) &&
		!e.Time.Before(m.Since) && e.Seq > m.After &&
		(m.Account == "" || m.account == normalized(e.Account))
}

// Read calls fn for every line of the log in dir that f lets pass, oldest
// first, until fn fails, whose error it returns as it is. raw is the line
// without its end, printable ASCII, and valid until fn returns. Read checks no
// mac. Lines that cannot be read are passed over; that there were any is an
// error of KindDamaged at the end.
func Read(ctx context.Context, dir string, f Filter, fn func(e Entry, raw []byte) error) error {
	r := reader{dir: dir, match: newMatcher(f), fn: fn}
	numbers, err := listFiles(dir)
	if err != nil {
		return unavailable("read the audit log", err)
	}
	for _, number := range numbers {
		if err := r.file(ctx, number); err != nil {
			return err
		}
	}
	if r.damaged > 0 {
		return &core.Error{Op: "read the audit log", Kind: core.KindDamaged, Err: fmt.Errorf("%d lines of the audit log cannot be read; verify it", r.damaged)}
	}
	return nil
}

// Follow is Read that goes on with the lines that are written later, until ctx
// ends, which is no error, or fn fails.
func Follow(ctx context.Context, dir string, f Filter, fn func(e Entry, raw []byte) error) error {
	r := reader{dir: dir, match: newMatcher(f), fn: fn, follow: true}
	for number := uint64(0); ctx.Err() == nil; {
		next, err := nextFile(dir, number)
		if err != nil {
			return unavailable("follow the audit log", err)
		}
		if next == 0 {
			r.pause(ctx)
			continue
		}
		number = next
		if err := r.file(ctx, number); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// nextFile returns the number of the first file after number, or 0.
func nextFile(dir string, number uint64) (uint64, error) {
	numbers, err := listFiles(dir)
	if err != nil {
		return 0, err
	}
	if i := slices.IndexFunc(numbers, func(n uint64) bool { return n > number }); i >= 0 {
		return numbers[i], nil
	}
	return 0, nil
}

type reader struct {
	dir     string
	match   matcher
	fn      func(e Entry, raw []byte) error
	follow  bool
	damaged int
}

// pause waits for the next look at the log.
func (r *reader) pause(ctx context.Context) {
	t := time.NewTimer(pollEvery)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// file reads one file; with follow, until there is another one after it. A
// file that was removed in the meantime holds nothing.
func (r *reader) file(ctx context.Context, number uint64) error {
	f, err := openFile(r.dir, number)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unavailable("read the audit log", err)
	}
	defer f.Close()
	if last, err := r.tooOld(f, number); last || err != nil {
		return unavailable("read the audit log", err)
	}
	lines := newLineReader(f)
	for last := !r.follow; ; {
		if err := r.lines(ctx, lines); err != nil {
			return err
		}
		if last {
			return nil
		}
		next, err := nextFile(r.dir, number)
		if err != nil {
			return unavailable("follow the audit log", err)
		}
		if last = next != 0; last {
			continue // once more: lines may have come before the next file did
		}
		// An unfinished line may be cut off before it is whole.
		if _, err := f.Seek(lines.offset, io.SeekStart); err != nil {
			return unavailable("follow the audit log", err)
		}
		lines.start, lines.end = 0, 0
		r.pause(ctx)
	}
}

// tooOld says that a file was last written long before the time asked for, and
// that another one came after it.
func (r *reader) tooOld(f *os.File, number uint64) (bool, error) {
	const slack = time.Hour // for clocks that are set back
	if r.match.Since.IsZero() {
		return false, nil
	}
	info, err := f.Stat()
	if err != nil || !info.ModTime().Before(r.match.Since.Add(-slack)) {
		return false, err
	}
	next, err := nextFile(r.dir, number)
	return next != 0, err
}

// lines hands out the whole lines that are there.
func (r *reader) lines(ctx context.Context, lines *lineReader) error {
	for {
		if err := ctx.Err(); err != nil {
			return unavailable("read the audit log", err)
		}
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return unavailable("read the audit log", err)
		}
		var e Entry
		if err == nil {
			e, err = parseLine(line)
		}
		if err != nil {
			r.damaged++
			continue
		}
		if !r.match.match(&e) {
			continue
		}
		if err := r.fn(e, line); err != nil {
			return err
		}
	}
}
