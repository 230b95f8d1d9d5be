package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const (
	formatCSV   = "csv"
	formatJSONL = "jsonl"
)

const importHelp = `Make accounts from a file, or from standard input where FILE is "-".

The file is read twice. First every fault is found and told, with its line; as
long as there is one, nothing is written. Then the accounts are made, 64 at
once. If that is interrupted, --continue goes on: accounts that are there and
equal are passed over.

CSV: the first line names the columns, in any order: name, groups, enabled,
password_hash; only name is needed. Groups stand in one cell with semicolons
between them; a backslash in front of a semicolon, a space or a backslash makes
it part of the group. enabled is true (also where the cell is empty) or false.

JSON lines: one object a line, with name, groups (an array), enabled and
password_hash.

password_hash is the hash of the main password as a PHC string of argon2id
($argon2id$v=19$m=65536,t=3,p=4$salt$hash). A main password itself is not
taken from a file: set it with user set-password.`

// An importJob is one import of a file.
type importJob struct {
	format string
	dryRun bool
	resume bool
	asJSON bool
	file   *importFile
}

func (a *app) userImport() *cobra.Command {
	var job importJob
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make accounts from a file of CSV or JSON lines",
		Long:  importHelp,
		Args:  exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if job.format, err = formatOf(job.format, args[0]); err != nil {
				return usage(cmd, err)
			}
			if job.file, err = a.openImport(cmd.Context(), args[0]); err != nil {
				return usageError{err}
			}
			defer job.file.Close()
			return a.stream(cmd.Context(), func(ctx context.Context, d daemonClient, alive func()) error {
				return a.importAll(ctx, d, alive, &job)
			})
		},
	}
	formatFlag(cmd, &job.format)
	cmd.Flags().BoolVar(&job.dryRun, "dry-run", false, "tell all faults, and write nothing")
	cmd.Flags().BoolVar(&job.resume, "continue", false, "pass over accounts that are there and equal")
	jsonFlag(cmd, &job.asJSON)
	return cmd
}

func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "", "csv or jsonl (default: as FILE ends, else csv)")
}

// formatOf returns the format that is asked for, or that the file's name ends
// with.
func formatOf(asked, path string) (string, error) {
	switch asked {
	case formatCSV, formatJSONL:
		return asked, nil
	case "":
	default:
		return "", fmt.Errorf("--format is csv or jsonl, not %q", asked)
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson":
		return formatJSONL, nil
	}
	return formatCSV, nil
}

// An importFile is a file that is read twice.
type importFile struct {
	*os.File
	name string // for a person
	info os.FileInfo
}

// openImport opens the file. What can be read only once is copied to a
// temporary file, which has no name any more: there may be hashes in it.
func (a *app) openImport(ctx context.Context, path string) (*importFile, error) {
	f := &importFile{name: line(path)}
	var in io.Reader = a.in
	if path != "-" {
		opened, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		if f.info, err = opened.Stat(); err != nil {
			return nil, errors.Join(err, opened.Close())
		}
		if f.info.Mode().IsRegular() {
			f.File = opened
			return f, nil
		}
		defer opened.Close()
		if f.info.IsDir() {
			return nil, fmt.Errorf("%s is a directory", path)
		}
		in = opened
	} else {
		f.name = "standard input"
	}
	if in == nil {
		return nil, errors.New("standard input is closed")
	}
	var err error
	if f.File, err = os.CreateTemp("", "keywicket-import-"); err != nil {
		return nil, err
	}
	err = os.Remove(f.Name())
	if err == nil {
		err = copyUntil(ctx, f.File, in)
	}
	if err == nil {
		f.info, err = f.Stat()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", f.name, err), f.Close())
	}
	return f, nil
}

// copyUntil is io.Copy that returns when ctx ends. What it reads from may give
// nothing for as long as a person does not type; then the program ends first.
func copyUntil(ctx context.Context, to io.Writer, from io.Reader) error {
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, from)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}

// changed says whether somebody wrote to the file since it was opened.
func (f *importFile) changed() error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != f.info.Size() || !info.ModTime().Equal(f.info.ModTime()) {
		return fmt.Errorf("%s was changed while it was read", f.name)
	}
	return nil
}

// importAll checks the file and makes its accounts.
func (a *app) importAll(ctx context.Context, d daemonClient, alive func(), job *importJob) error {
	check := a.newPass(job, d, alive, false)
	err := check.run(ctx)
	if err != nil {
		return &partialError{"while the file was checked, before anything was written: " + reasonOf(ctx, err), endedBy(ctx, err)}
	}
	if check.faults.total > 0 {
		return a.showFaults(job, check)
	}
	if err := job.file.changed(); err != nil {
		return fmt.Errorf("%w; nothing was written", err)
	}
	if job.dryRun {
		return a.showImport(job, check)
	}
	write := a.newPass(job, d, alive, true)
	if err := write.run(ctx); err != nil {
		return &partialError{fmt.Sprintf("%s; %d of %d accounts were made for certain. Run it again with --continue, which passes over those that are there",
			reasonOf(ctx, err), write.made, check.made), endedBy(ctx, err)}
	}
	return a.showImport(job, write)
}

type importFaultJSON struct {
	Line uint64 `json:"line"`
	Text string `json:"text"`
}

type importJSON struct {
	DryRun     bool              `json:"dry_run"`
	Made       int64             `json:"made"`  // or that can be made
	Equal      int64             `json:"equal"` // that were there
	FaultCount int64             `json:"fault_count"`
	Faults     []importFaultJSON `json:"faults"` // the first ones
}

func (a *app) showImport(job *importJob, p *importPass) error {
	if job.asJSON {
		return a.printJSON(importJSON{DryRun: job.dryRun, Made: p.made, Equal: p.equal, Faults: []importFaultJSON{}})
	}
	if job.dryRun {
		a.printf("%s can be made. Nothing was written.\n", accountsOf(p.made))
	} else {
		a.printf("Made: %s.\n", accountsOf(p.made))
	}
	if p.equal > 0 {
		a.printf("There already, and equal: %s.\n", accountsOf(p.equal))
	}
	return nil
}

func accountsOf(n int64) string {
	if n == 1 {
		return "1 account"
	}
	return strconv.FormatInt(n, 10) + " accounts"
}

// showFaults tells what is wrong with the file, and returns that it is refused.
func (a *app) showFaults(job *importJob, p *importPass) error {
	shown := p.faults.first()
	if job.asJSON {
		all := []importFaultJSON{}
		for _, f := range shown {
			all = append(all, importFaultJSON{f.line, f.text})
		}
		if err := a.printJSON(importJSON{DryRun: job.dryRun, FaultCount: p.faults.total, Faults: all}); err != nil {
			return err
		}
	} else {
		for _, f := range shown {
			fmt.Fprintf(a.err, "%s:%d: %s\n", job.file.name, f.line, line(f.text))
		}
		if more := p.faults.total - int64(len(shown)); more > 0 {
			fmt.Fprintf(a.err, "%s: and %d faults more\n", job.file.name, more)
		}
	}
	hint := ""
	if p.exists && !job.resume {
		hint = "; accounts that are there and equal can be passed over with --continue"
	}
	faults := "faults"
	if p.faults.total == 1 {
		faults = "fault"
	}
	return fmt.Errorf("%s has %d %s, and nothing was written%s", job.file.name, p.faults.total, faults, hint)
}
