package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

func (a *app) userExport() *cobra.Command {
	var format string
	var hashes bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print all accounts, as user import takes them",
		Long: "Print all accounts in the order of their names, in the format that user import\n" +
			"takes. App passwords and two-step verification are not in it, and main passwords\n" +
			"only as hashes, with --with-hashes. For a copy of everything there is backup.",
		Args: exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := formatOf(format, "")
			if err != nil {
				return usage(cmd, err)
			}
			return a.stream(cmd.Context(), func(ctx context.Context, d daemonClient, alive func()) error {
				return a.export(ctx, d, alive, format, hashes)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "csv or jsonl (default csv)")
	cmd.Flags().BoolVar(&hashes, "with-hashes", false, "with the hashes of main passwords: whoever has them can guess on")
	return cmd
}

func (a *app) export(ctx context.Context, d daemonClient, alive func(), format string, hashes bool) error {
	stream, err := d.accounts.Export(ctx, &controlv1.ExportRequest{Hashes: hashes})
	if err != nil {
		return err
	}
	if hashes {
		fmt.Fprintln(a.err, "keywicket: the hashes of main passwords are in this: whoever reads it can guess on without being noticed; keep it as you keep the keyring")
	}
	buffered := bufio.NewWriter(a.out)
	w := newExportWriter(buffered, format, hashes)
	progress := a.newProgress("exporting", 0)
	if a.outAtTerminal() {
		progress.bar = false // it would stand among the accounts
	}
	defer progress.end()
	if err := w.begin(); err != nil {
		return err
	}
	done := int64(0)
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return cmp.Or(w.end(), buffered.Flush()) // the second would say the same again
		}
		if err != nil {
			return &partialError{fmt.Sprintf("%s; after %d accounts the export is not whole", reasonOf(ctx, err), done), errors.Join(endedBy(ctx, err), w.end(), buffered.Flush())}
		}
		alive()
		for _, account := range r.Accounts {
			if err := w.write(account); err != nil {
				return err
			}
		}
		done += int64(len(r.Accounts))
		progress.show(0, done)
	}
}

// An exportWriter writes what an importReader reads.
type exportWriter interface {
	begin() error
	write(*controlv1.ImportAccount) error
	end() error
}

func newExportWriter(w io.Writer, format string, hashes bool) exportWriter {
	if format == formatJSONL {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return &jsonlWriter{e}
	}
	names := columns()
	if !hashes {
		names = names[:len(names)-1]
	}
	return &csvWriter{csv.NewWriter(w), names}
}

type csvWriter struct {
	csv     *csv.Writer
	columns []string
}

func (w *csvWriter) begin() error { return w.csv.Write(w.columns) }

func (w *csvWriter) write(a *controlv1.ImportAccount) error {
	cells := []string{a.Name, joinGroups(a.Groups), strconv.FormatBool(a.Enabled), a.PasswordHash}
	return w.csv.Write(cells[:len(w.columns)])
}

func (w *csvWriter) end() error {
	w.csv.Flush()
	return w.csv.Error()
}

type jsonlWriter struct{ json *json.Encoder }

// An exportJSON is one line.
type exportJSON struct {
	Name    string   `json:"name"`
	Groups  []string `json:"groups"`
	Enabled bool     `json:"enabled"`
	Hash    string   `json:"password_hash,omitempty"`
}

func (w *jsonlWriter) begin() error { return nil }
func (w *jsonlWriter) end() error   { return nil }
func (w *jsonlWriter) write(a *controlv1.ImportAccount) error {
	return w.json.Encode(exportJSON{a.Name, notNil(a.Groups), a.Enabled, a.PasswordHash})
}
