package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/keyring"
)

// A benchFill is what the flags of "bench accounts" say.
type benchFill struct {
	accounts, each int
	profile, out   string
}

func (a *app) benchAccounts() *cobra.Command {
	var b benchFill
	cmd := &cobra.Command{
		Use:   "accounts",
		Short: "Fill an empty store with accounts to measure with",
		Long: `Fill the store of --config, which must be empty and not in use, with accounts that
have app passwords, and write a name, a comma and one of its app passwords for each
to a file, as bench radius reads it. The policy must not require two-step
verification.`,
		Args: exactArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.configPath == "" {
				return usage(cmd, errors.New("say with --config which store to fill"))
			}
			if b.accounts < 1 || b.each < 1 || b.each > core.MaxLimit {
				return usage(cmd, fmt.Errorf("an account has 1 to %d app passwords, and there is one account at least", core.MaxLimit))
			}
			return a.fill(cmd.Context(), b)
		},
	}
	cmd.Flags().IntVar(&b.accounts, "accounts", 10000, "how many accounts")
	cmd.Flags().IntVar(&b.each, "app-passwords", 3, "how many app passwords each has")
	cmd.Flags().StringVar(&b.profile, "profile", core.DefaultProfile, "the app passwords' `profile`")
	cmd.Flags().StringVar(&b.out, "out", "", "the `file` to write, which must not be there (required)")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

// fill makes the accounts without a daemon, and without events: nobody did
// anything.
func (a *app) fill(ctx context.Context, b benchFill) (err error) {
	f, err := loadWhole(a.configPath)
	if err != nil {
		return err
	}
	keys, err := keyring.ReadFile(f.Keyring)
	if err != nil {
		return usageError{keyringError(f.File, err)}
	}
	if f.Store.Plugin() != "" || f.Directory.Plugin() != "" {
		return usageError{errors.New("this fills the store and the directory that Keywicket keeps itself, and no plugin's")}
	}
	log := slog.New(slog.DiscardHandler)
	s, err := openBadger(f.File, 0, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	opened := openedStore{store: s}
	options, err := engineOptions(f, nil, opened, keys, nil, log)
	if err != nil {
		return err
	}
	options.Guard = nil
	engine, err := core.Open(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	there, err := engine.Accounts(ctx, "", 1)
	switch {
	case err != nil:
		return err
	case len(there) > 0:
		return errors.New("the store has accounts already; this is for an empty one")
	case f.Policy.RequireTwoStep:
		return usageError{errors.New("nobody here can turn two-step verification on for them; set require_two_step = false under [policy]")}
	}
	out, err := os.OpenFile(b.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usageError{err}
	}
	return errors.Join(b.fill(ctx, engine, out), out.Close())
}

// fillers is how many accounts are written at a time: the store puts what waits
// into one durable write.
const fillers = 1024

func (b benchFill) fill(ctx context.Context, engine *core.Engine, out io.Writer) error {
	passwords := make([]string, b.accounts)
	var next atomic.Int64
	var working sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range fillers {
		working.Go(func() {
			for ctx.Err() == nil {
				first := int(next.Add(core.MaxImport)) - core.MaxImport
				if first >= b.accounts {
					return
				}
				if err := b.some(ctx, engine, passwords, first); err != nil {
					cancel(err)
				}
			}
		})
	}
	working.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w := bufio.NewWriter(out)
	for i, text := range passwords {
		fmt.Fprintf(w, "%s,%s\n", benchName(i), text)
	}
	return w.Flush()
}

func benchName(i int) string { return fmt.Sprintf("user%07d@contoso.com", i) }

// some makes up to core.MaxImport accounts.
func (b benchFill) some(ctx context.Context, engine *core.Engine, passwords []string, first int) error {
	var batch []core.ImportAccount
	last := min(first+core.MaxImport, b.accounts)
	for i := first; i < last; i++ {
		batch = append(batch, core.ImportAccount{Name: benchName(i), Enabled: true})
	}
	if _, err := engine.Import(ctx, batch, false); err != nil {
		return err
	}
	for i := first; i < last; i++ {
		for n := range b.each {
			_, text, err := engine.Create(ctx, benchName(i), core.NewAppPassword{Name: fmt.Sprint("device ", n+1), Profile: b.profile})
			if err != nil {
				return err
			}
			passwords[i] = text.Canonical()
			text.Wipe()
		}
	}
	return nil
}
