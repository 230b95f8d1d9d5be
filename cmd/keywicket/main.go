package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/config"
)

// The exit codes. A service manager does not start the daemon again after
// exitUsage: the same arguments and the same configuration would fail again.
const (
	exitOK          = 0
	exitFailed      = 1 // refused, or failed
	exitUsage       = 2 // wrong arguments, configuration or keyring
	exitUnavailable = 3 // the daemon, the store or the directory does not answer
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// stdio is where a verb reads and writes. Secrets go to out alone.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// run is main without the process.
func run(ctx context.Context, args []string, std stdio) int {
	out := &keptWriter{Writer: std.out}
	std.out = out
	root := newRoot(std)
	root.SetArgs(args)
	err := areText(args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		err = out.err
	}
	if err == nil {
		return exitOK
	}
	var said *refusal
	if !errors.As(err, &said) { // a refusal was printed as the answer that it is
		fmt.Fprintln(std.err, "keywicket: "+sanitize(messageOf(err)+whoMayNot(err)))
	}
	return exitCode(err)
}

// whoMayNot says as whom this runs, where the kernel did not allow something.
func whoMayNot(err error) string {
	if !errors.Is(err, fs.ErrPermission) || os.Geteuid() == 0 {
		return ""
	}
	name := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Sprintf("; this runs as the user %s, who may not: run it as root, or allow it", name)
}

// areText wants UTF-8, in which all names are.
func areText(args []string) error {
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return usageError{fmt.Errorf("the argument %q is not UTF-8", arg)}
		}
	}
	return nil
}

// A usageError is wrong arguments, or a configuration that cannot be worked with.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// A startError is what the daemon cannot start with, today or tomorrow: also where
// it may not read what it needs.
type startError struct{ error }

func (e startError) Unwrap() error { return e.error }

// A refusal is a "no" that the verb has printed already.
type refusal struct{ reason string }

func (r *refusal) Error() string { return "refused: " + r.reason }

// An unavailableError says that the daemon is not there.
type unavailableError struct{ error }

// exitCode says how the program ends for err.
func exitCode(err error) int {
	var usage usageError
	var start startError
	var faults config.Faults
	var gone unavailableError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &start):
		return exitUsage
	case errors.Is(err, fs.ErrPermission): // who may not is refused, at a file as at the socket
		return exitFailed
	case errors.As(err, &usage), errors.As(err, &faults):
		return exitUsage
	case errors.As(err, &gone):
		return exitUnavailable
	}
	if s, ok := status.FromError(err); ok {
		switch s.Code() {
		case codes.Unavailable, codes.DeadlineExceeded:
			return exitUnavailable
		}
		return exitFailed
	}
	if core.KindOf(err) == core.KindUnavailable {
		return exitUnavailable
	}
	return exitFailed
}

// messageOf returns what err says to a person.
func messageOf(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}
	return err.Error()
}

// newRoot makes the command with all its verbs.
func newRoot(std stdio) *cobra.Command {
	a := &app{stdio: std}
	root := &cobra.Command{
		Use:           "keywicket",
		Short:         "Keywicket issues and verifies app passwords, one for each device",
		Long:          "Keywicket issues and verifies app passwords: generated passwords, one for each\ndevice, for everything that cannot do two-step verification.\n\nTry it: keywicket demo",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{errors.New("a command is missing\n\n" + strings.TrimSpace(cmd.UsageString()))}
		},
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&a.configPath, "config", "", "the configuration `file`, for serve and to find the control socket")
	root.PersistentFlags().StringVar(&a.socket, "socket", "", "the control socket's `path`")
	root.AddCommand(
		a.demoCommand(), a.initCommand(), a.serveCommand(), a.configCommand(), a.statusCommand(), a.reloadCommand(),
		a.userCommand(), a.twoStepCommand(), a.appPasswordCommand(), a.verifyCommand(), a.whyCommand(), a.sessionCommand(), a.reviewCommand(), a.clientCommand(), a.auditCommand(), a.keyringCommand(),
		a.backupCommand(), a.restoreCommand(), a.radiusCommand(), a.pamCommand(), a.benchCommand(),
		a.pluginCommand(),
	)
	root.InitDefaultCompletionCmd() // now, so that it is strict too
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		for _, shell := range completion.Commands() {
			shell.Args = exactArgs("")
		}
	}
	root.SetHelpCommand(helpCommand())
	for name, others := range otherWords() {
		if cmd, _, err := root.Find(strings.Fields(name)); err == nil {
			cmd.SuggestFor = strings.Fields(others)
		}
	}
	strict(root)
	return root
}

// otherWords are what commands are called elsewhere: who types them is told the
// name here.
func otherWords() map[string]string {
	return map[string]string{
		"serve": "start run daemon", "config check": "validate test lint", "audit": "log logs events", "client new": "add create", "plugin pin": "add",
		"user add": "create new", "user delete": "remove rm", "user disable": "lock suspend", "user enable": "unlock resume", "user show": "get info",
		"two-step": "2fa mfa 2sv totp otp", "two-step enroll": "on enable add setup", "two-step off": "disable remove delete",
		"app-password create": "add new issue", "app-password delete": "remove rm revoke", "app-password suspend": "disable", "app-password resume": "enable",
	}
}

// helpCommand is "help COMMAND", for commands that there are.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			about := cmd.Root()
			for _, name := range args {
				i := slices.IndexFunc(about.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
				if i < 0 {
					return usage(about, fmt.Errorf("there is no command %q to tell of", strings.Join(args, " ")))
				}
				about = about.Commands()[i]
			}
			about.InitDefaultHelpFlag() // which Execute adds to the command that runs
			return about.Help()
		},
	}
}

// strict makes every fault of the arguments a usage error that shows the
// verb's usage, also a flag that is missing or given twice.
func strict(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, nearFlag(c, err)) })
	onceEach(cmd.PersistentFlags())
	strictBelow(cmd)
}

func strictBelow(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 1 // with 2 it is "two-step off" for "two-step on"
	onceEach(cmd.LocalNonPersistentFlags())
	check := cmd.Args
	if check == nil && cmd.HasSubCommands() {
		check = cobra.NoArgs
	}
	if check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil {
				err = c.ValidateRequiredFlags()
			}
			if err == nil {
				return nil
			}
			if c.HasSubCommands() && len(args) > 0 {
				if near := c.SuggestionsFor(args[0]); len(near) > 0 { // and no list that pushes it off the screen
					return usageError{fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))}
				}
			}
			return usage(c, err)
		}
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.RunE = func(c *cobra.Command, _ []string) error { return usage(c, errors.New("a command is missing")) }
	}
	for _, sub := range cmd.Commands() {
		strictBelow(sub)
	}
}

func usage(c *cobra.Command, err error) error {
	return usageError{fmt.Errorf("%w\n\n%s", err, strings.TrimSpace(c.UsageString()))}
}
